r"""The infusion rate.

.. math:: \alpha_t = \alpha_0 + \omega t, \qquad t = 0..K-1

(infusion paper, note 2 and appendix A): little of the target at first, more as the walk gets near
the data.
"""

from __future__ import annotations

import torch
from torch import Tensor

from chainkit import Context, Schedule
from chainkit_infusion.configs import IncreasingConfig


class IncreasingRate(Schedule):
    """Value j = 1, 2, .. is alpha_0 + omega (j - 1), kept within [0, 1].

    Arguments:
        omega: Increase per step, in [0, 1].
        alpha0: First value, in [0, 1].
    """

    def __init__(self, omega: float = 0.01, alpha0: float = 0.0) -> None:
        super().__init__()
        self.omega = omega
        self.alpha0 = alpha0

    def values(self, steps: int) -> Tensor:
        return (self.alpha0 + self.omega * torch.arange(steps, dtype=torch.float64)).clamp_(0, 1)


def build(config: IncreasingConfig, context: Context) -> IncreasingRate:
    """The schedule that a recipe describes."""
    return IncreasingRate(config.omega, config.alpha0)
