r"""Batch normalisation with parameters and statistics of its own for every step.

.. math:: y = \gamma_k \frac{h - m_k}{\sqrt{v_k + \epsilon}} + \beta_k

(infusion paper, section 3.5, footnote 5, and appendix A.1). All else in a network may be shared by
the steps; the distribution of its activations still changes from noise to data.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from chainkit.distributed import current
from chainkit.errors import RecipeError
from chainkit.statistics import RunningStatistics, SharedStatistics
from chainkit_networks.steps import by_step, cycle_of, step_row
from chainkit_networks.together import normalised_together


class StepBatchNorm(nn.Module, RunningStatistics, SharedStatistics):
    """Batch normalisation per step, over [B, features] or [B, features, *space].

    While training, m_k and v_k are those of the rows that sit at step k; in evaluation they are the
    running ones. The running variance is the biased one, by which training divides too: once the
    statistics of a step are those of a single batch, evaluation gives exactly what training gave
    (torch's own layer keeps the unbiased one). Parameters and statistics keep their type under
    autocast.

    Arguments:
        features: Number of features or channels.
        steps: K, 1 or more.
        momentum: Weight of a new batch in the running statistics of its step, in (0, 1], or None
            for the average over all batches since the reset.
        eps: epsilon > 0, in squared units of the input.

    Raises:
        RecipeError: While training, a step has only one value per feature in the batch.
        IndexError: A step outside 1..K.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, features: int, steps: int, *, momentum: float | None = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.features = features
        self.steps = steps
        self.momentum = momentum
        self.eps = eps
        self.track_running_stats = True
        self.weight = nn.Parameter(torch.ones(steps, features))
        self.bias = nn.Parameter(torch.zeros(steps, features))
        self.register_buffer("running_mean", torch.zeros(steps, features))
        self.register_buffer("running_var", torch.ones(steps, features))
        self.register_buffer("num_batches_tracked", torch.zeros(steps, dtype=torch.long))

    def reset_running_stats(self) -> None:
        self.running_mean.zero_()
        self.running_var.fill_(1)
        self.num_batches_tracked.zero_()

    def forward(self, values: Tensor, k: int | Tensor) -> Tensor:
        """Normalises values.

        Arguments:
            values: h, [B, features] or [B, features, *space].
            k: Step index in 1..K, an int or a LongTensor [B].
        """
        if self.training and current().size > 1:
            return self._together(values, k)
        if not isinstance(k, Tensor):
            return self._at_one_step(values, k)
        if not self.training:
            return self._gathered(values, k)
        cycle = cycle_of(k)
        return by_step(self._at_one_step, values, k) if cycle is None else self._side_by_side(values, cycle)

    def _at_one_step(self, values: Tensor, k: int) -> Tensor:
        row = step_row(k, self.steps)
        weight, bias = self.weight[row], self.bias[row]
        if not self.training:
            return functional.batch_norm(values, self.running_mean[row], self.running_var[row], weight, bias, eps=self.eps)
        if values.numel() < 2 * self.features:
            raise _too_few(k)
        return self._normalised(values, weight, bias, row)

    def _side_by_side(self, values: Tensor, cycle: Tensor) -> Tensor:
        """The steps of each example as further features: one call for all of them."""
        rows, steps = step_row(cycle, self.steps), len(cycle)
        together = values.reshape(-1, steps * self.features, *values.shape[2:])
        if together.numel() < 2 * steps * self.features:
            raise _too_few(int(cycle[0]))
        return self._normalised(together, self.weight[rows].flatten(), self.bias[rows].flatten(), rows).view_as(values)

    def _normalised(self, values: Tensor, weight: Tensor, bias: Tensor, rows: int | Tensor) -> Tensor:
        """Values normalised by their own statistics, by which the running ones of their steps are moved."""
        normalised, mean, scale = torch.native_batch_norm(values, weight, bias, None, None, True, 0.0, self.eps)
        if self.track_running_stats:
            mean, variance = (values.view(-1, self.features) for values in (mean, (scale**-2 - self.eps).clamp_min(0)))
            self._track(rows, mean, variance)
        return normalised

    def _together(self, values: Tensor, k: int | Tensor) -> Tensor:
        """Training with the rows of all processes, each step's apart."""
        first = 0 if isinstance(k, Tensor) else step_row(k, self.steps)
        rows = k - 1 if isinstance(k, Tensor) else torch.zeros(len(values), dtype=torch.long, device=values.device)
        chosen = slice(None) if isinstance(k, Tensor) else slice(first, first + 1)
        found = normalised_together(values, rows, self.weight[chosen], self.bias[chosen], self.eps)
        for row in (found.count > 0).nonzero().flatten().tolist():
            if found.count[row] < 2:
                raise _too_few(first + row + 1)
            if self.track_running_stats:
                self._track(first + row, found.mean[row], found.variance[row])
        return found.values

    def _track(self, row: int | Tensor, mean: Tensor, variance: Tensor) -> None:
        """Moves the running statistics of a step, [features] or [1, features], or of several different ones, [n, features]."""
        self.num_batches_tracked[row] += 1
        momentum = self.momentum if self.momentum is not None else (1 / self.num_batches_tracked[row].to(mean))[..., None]
        with torch.no_grad():
            self.running_mean[row] = torch.lerp(self.running_mean[row], mean, momentum)
            self.running_var[row] = torch.lerp(self.running_var[row], variance, momentum)

    def _gathered(self, values: Tensor, k: Tensor) -> Tensor:
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        shift = self.bias - self.running_mean * scale
        rows, shape = step_row(k, self.steps), (-1, self.features, *[1] * (values.dim() - 2))
        return (values * scale[rows].view(shape) + shift[rows].view(shape)).to(values.dtype)

    def extra_repr(self) -> str:
        return f"{self.features}, steps={self.steps}, momentum={self.momentum}, eps={self.eps}"


def _too_few(k: int) -> RecipeError:
    return RecipeError(
        f"one example at step {k}: batch normalisation per step needs two or more of every step in a batch; "
        'a larger train.batch_size, fewer chain.steps or norm = "shared" would do'
    )
