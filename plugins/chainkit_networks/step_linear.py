r"""A linear layer of its own for every step.

.. math:: y = W_k h + b_k

(Sohl-Dickstein et al. 2015, appendix D.1: the last layer of the networks for swiss roll and
heartbeat). With n knots, V_1..V_n alone are learned, and a step blends the two nearest:

.. math:: W_k = \sum_{j=1}^n \max(0, 1 - |t_k - j|)\, V_j, \qquad t_k = 1 + (n - 1) \frac{k - 1}{K - 1}

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


def hats(steps: int, knots: int) -> Tensor:
    """The share of every knot in every step, [K, n]; each row sums to 1.

    Arguments:
        steps: K.
        knots: n.

    Raises:
        ValueError: n is not in 2..K.
    """
    if not 2 <= knots <= steps:
        raise ValueError(f"knots are 2 or more and at most as many as there are steps, {steps}; not {knots}")
    places = torch.linspace(0, knots - 1, steps, dtype=torch.float64)
    return (1 - (places[:, None] - torch.arange(knots)).abs()).clamp(min=0).float()


class StepLinear(nn.Module):
    """W_k and b_k, K of them.

    Arguments:
        features: Size of h.
        outputs: Size of y.
        steps: K, 1 or more.
        knots: n, how many are learned, in 2..K; left out, all K.

    Raises:
        ValueError: Knots outside 2..K.
        IndexError: A step outside 1..K.
    """

    shares: Tensor | None

    def __init__(self, features: int, outputs: int, steps: int, knots: int | None = None) -> None:
        super().__init__()
        self.steps = steps
        self.register_buffer("shares", None if knots is None else hats(steps, knots), persistent=False)
        self.weight = nn.Parameter(torch.empty(knots or steps, outputs, features))
        self.bias = nn.Parameter(torch.zeros(knots or steps, outputs))
        nn.init.normal_(self.weight, std=features**-0.5)

    def forward(self, hidden: Tensor, k: int | Tensor) -> Tensor:
        """y, [B, outputs].

        Arguments:
            hidden: h, [B, features].
            k: Step index in 1..K, an int or a LongTensor [B].
        """
        if not isinstance(k, Tensor):
            return self._at_one_step(hidden, k)
        row = step_row(k, self.steps)
        if len(hidden) * self.weight[0].numel() > GATHERED:
            return self._grouped(hidden, row)
        weight, bias = self._of(row)
        return torch.baddbmm(bias[:, :, None], weight, hidden[:, :, None]).squeeze(2)

    def _of(self, row: int | Tensor) -> tuple[Tensor, Tensor]:
        """W_k and b_k of one step, or of one per row."""
        if self.shares is None:
            return self.weight[row], self.bias[row]
        shares = self.shares[row]
        return torch.tensordot(shares, self.weight, 1), shares @ self.bias

    def _grouped(self, hidden: Tensor, row: Tensor) -> Tensor:
        """One product for each step that occurs, its rows padded to as many as the most frequent step has."""
        occurring, group, counts = row.unique(return_inverse=True, return_counts=True)
        order = group.argsort(stable=True)
        place = torch.empty_like(order)
        place[order] = torch.arange(len(row), device=row.device) - (counts.cumsum(0) - counts)[group[order]]
        padded = hidden.new_zeros(len(occurring), int(counts.max()), hidden.shape[1]).index_put((group, place), hidden)
        weight, bias = self._of(occurring)
        return torch.baddbmm(bias[:, None], padded, weight.mT)[group, place]

    def _at_one_step(self, hidden: Tensor, k: int) -> Tensor:
        return functional.linear(hidden, *self._of(step_row(k, self.steps)))

    def extra_repr(self) -> str:
        learned, outputs, features = self.weight.shape
        return f"{features}, {outputs}, steps={self.steps}" + ("" if self.shares is None else f", knots={learned}")
