"""Temperatures for annealing between the prior and an energy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from chainkit.schedule import Schedule

if TYPE_CHECKING:
    from chainkit.component import Context
    from chainkit_energy.configs import AnnealedConfig


class Annealed(Schedule):
    r"""1 / T falls from 1 at the data to nearly 0 at the noise, ever finer the longer the chain.

    .. math:: 1 / T_k = \left( \frac{K - k + 1}{K} \right)^p

    With p = 1 the inverse temperatures are evenly spaced (Neal 2001); the prior itself stands for 0.

    Arguments:
        power: p, above 0; below 1 more of them lie close to 1.

    Raises:
        ValueError: ``power`` is not above 0.
    """

    def __init__(self, power: float = 1.0) -> None:
        super().__init__()
        if power <= 0:
            raise ValueError(f"the power of an annealed schedule is above 0, not {power}")
        self.power = power

    def values(self, steps: int) -> Tensor:
        return (steps / torch.arange(steps, 0, -1, dtype=torch.float64)) ** self.power


def build(config: AnnealedConfig, context: Context) -> Annealed:
    """The schedule ``annealed``."""
    return Annealed(config.power)
