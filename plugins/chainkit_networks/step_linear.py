r"""A linear layer of its own for every step.

.. math:: y = W_k h + b_k

(Sohl-Dickstein et al. 2015, appendix D.1: the last layer of the networks for swiss roll and
heartbeat).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from chainkit_networks.steps import by_step, step_row

GATHERED = 2**22
"""Up to how many weights are copied, one matrix for each row, rather than visiting the steps in turn."""


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
        if len(hidden) * self.weight[0].numel() > max(GATHERED, self.weight.numel()):
            return by_step(self._at_one_step, hidden, k)
        rows = step_row(k, self.steps)
        return torch.baddbmm(self.bias[rows, :, None], self.weight[rows], hidden[:, :, None]).squeeze(2)

    def _at_one_step(self, hidden: Tensor, k: int) -> Tensor:
        row = step_row(k, self.steps)
        return functional.linear(hidden, self.weight[row], self.bias[row])

    def extra_repr(self) -> str:
        steps, outputs, features = self.weight.shape
        return f"{features}, {outputs}, steps={steps}"
