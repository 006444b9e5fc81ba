r"""A linear layer of its own for every step.

.. math:: y = W_k h + b_k

(Sohl-Dickstein et al. 2015, appendix D.1: the last layer of the networks for swiss roll and
heartbeat).
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

    Raises:
        IndexError: A step outside 1..K.
    """

    def __init__(self, features: int, outputs: int, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.weight = nn.Parameter(torch.empty(steps, outputs, features))
        self.bias = nn.Parameter(torch.zeros(steps, outputs))
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
        return torch.baddbmm(self.bias[row, :, None], self.weight[row], hidden[:, :, None]).squeeze(2)

    def _grouped(self, hidden: Tensor, row: Tensor) -> Tensor:
        """One product for each step that occurs, its rows padded to as many as the most frequent step has."""
        occurring, group, counts = row.unique(return_inverse=True, return_counts=True)
        order = group.argsort(stable=True)
        place = torch.empty_like(order)
        place[order] = torch.arange(len(row), device=row.device) - (counts.cumsum(0) - counts)[group[order]]
        padded = hidden.new_zeros(len(occurring), int(counts.max()), hidden.shape[1]).index_put((group, place), hidden)
        return torch.baddbmm(self.bias[occurring, None], padded, self.weight[occurring].mT)[group, place]

    def _at_one_step(self, hidden: Tensor, k: int) -> Tensor:
        row = step_row(k, self.steps)
        return functional.linear(hidden, self.weight[row], self.bias[row])

    def extra_repr(self) -> str:
        steps, outputs, features = self.weight.shape
        return f"{features}, {outputs}, steps={steps}"
