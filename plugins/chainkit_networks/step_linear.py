r"""A linear layer of its own for every step.

.. math:: y = W_k h + b_k

(Sohl-Dickstein et al. 2015, appendix D.1: the last layer of the networks for swiss roll and
heartbeat). With n knots, evenly over the steps, the layers of the knots alone are learned, and those
of the other steps lie between them,

.. math:: W_k = (1 - f)\, V_j + f\, V_{j+1}, \qquad j + f = 1 + (n - 1) \frac{k - 1}{K - 1}, \quad 0 \le f \le 1

and b_k likewise. Neighbouring steps then learn from each other's examples; the released code of
that paper blends Gaussian bumps instead.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from chainkit_networks.steps import step_row

GATHERED = 2**18
"""Up to how many weights are copied, one matrix for each row, rather than one for each step that occurs."""


class StepLinear(nn.Module):
    """W_k and b_k, K of them.

    Arguments:
        features: Size of h.
        outputs: Size of y.
        steps: K, 1 or more.
        knots: n, how many are learned, 2 or more; left out, or with K or more, all K.

    Raises:
        ValueError: Fewer than two knots.
        IndexError: A step outside 1..K.
    """

    def __init__(self, features: int, outputs: int, steps: int, knots: int | None = None) -> None:
        super().__init__()
        if knots is not None and knots < 2:
            raise ValueError(f"steps lie between two knots or more, not {knots}")
        self.steps = steps
        self.knots = knots if knots is not None and knots < steps else None
        self.weight = nn.Parameter(torch.empty(self.knots or steps, outputs, features))
        self.bias = nn.Parameter(torch.zeros(self.knots or steps, outputs))
        nn.init.normal_(self.weight, std=features**-0.5)

    def forward(self, hidden: Tensor, k: int | Tensor) -> Tensor:
        """y, [B, outputs].

        Arguments:
            hidden: h, [B, features].
            k: Step index in 1..K, an int or a LongTensor [B].
        """
        row = step_row(k, self.steps)
        if self.knots is None:
            return self._at(hidden, row)
        # In whole numbers, so that every step finds its knots exactly.
        before = row * (self.knots - 1) // (self.steps - 1)
        left = before.clamp(max=self.knots - 2) if isinstance(before, Tensor) else min(before, self.knots - 2)
        share = torch.as_tensor((row * (self.knots - 1) - left * (self.steps - 1)) / (self.steps - 1), device=hidden.device)
        below, above = self._at(hidden, left), self._at(hidden, left + 1)
        return torch.lerp(below, above, share.to(below.dtype).unsqueeze(-1))

    def _at(self, hidden: Tensor, row: int | Tensor) -> Tensor:
        """The learned layer of a row, or of one for each of the examples."""
        if not isinstance(row, Tensor):
            return functional.linear(hidden, self.weight[row], self.bias[row])
        if len(hidden) * self.weight[0].numel() > GATHERED:
            return self._grouped(hidden, row)
        return torch.baddbmm(self.bias[row, :, None], self.weight[row], hidden[:, :, None]).squeeze(2)

    def _grouped(self, hidden: Tensor, row: Tensor) -> Tensor:
        """One product for each step that occurs, its rows padded to as many as the most frequent step has."""
        occurring, group, counts = row.unique(return_inverse=True, return_counts=True)
        order = group.argsort(stable=True)
        place = torch.empty_like(order)
        place[order] = torch.arange(len(row), device=row.device) - (counts.cumsum(0) - counts)[group[order]]
        padded = hidden.new_zeros(len(occurring), int(counts.max()), hidden.shape[1]).index_put((group, place), hidden)
        return torch.baddbmm(self.bias[occurring, None], padded, self.weight[occurring].mT)[group, place]

    def extra_repr(self) -> str:
        learned, outputs, features = self.weight.shape
        return f"{features}, {outputs}, steps={self.steps}" + ("" if self.knots is None else f", knots={learned}")
