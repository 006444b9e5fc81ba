r"""Temperatures by step.

.. math:: T_k = T_1\, r^{k-1}

The index k is that of the transition between s_{k-1} and s_k, which both p and q make at T_k. The
walkback paper numbers temperatures in two ways: T_1 = 1 (eq. 6, Algorithm 1: the step onto the data
is the model itself) and T_1 = r (eq. 14). Its ratios are 2 (Algorithm 1) and sqrt 2 (appendix B).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from chainkit.schedule import Schedule

if TYPE_CHECKING:
    from chainkit.component import Context
    from chainkit_walkback.configs import ConstantConfig, GeometricConfig

ROUNDING = 1e-12


class Geometric(Schedule):
    """``T_k = start * ratio^(k-1)``.

    Arguments:
        start: T_1, above 0.
        ratio: r, above 0; above 1 the temperature rises with the distance from the data.

    Raises:
        ValueError: An argument outside its range.
    """

    def __init__(self, start: float = 1.0, ratio: float = math.sqrt(2)) -> None:
        super().__init__()
        if start <= 0 or ratio <= 0:
            raise ValueError(f"start and ratio are above 0, not {start} and {ratio}")
        self.start = start
        self.ratio = ratio

    def values(self, steps: int) -> Tensor:
        return self.start * self.ratio ** torch.arange(steps, dtype=torch.float64)

    def steps_to_reach(self, value: float, limit: int = 100_000) -> int:
        """``1 + ceil(log_ratio(value / start))``, and 1 where the start is there already.

        With start 1 and value sigma_data^2 / sigma^2 this is the chain length of eqs. 4-5 of the
        walkback paper, counted in transitions.

        Arguments:
            value: The temperature to be reached.
            limit: The longest chain to consider.

        Raises:
            ValueError: No chain of up to ``limit`` steps reaches it.
        """
        factor = value / self.start * (1 - ROUNDING)
        if factor <= 1:
            return 1
        if self.ratio <= 1 or (steps := 1 + math.ceil(math.log(factor) / math.log(self.ratio))) > limit:
            raise ValueError(f"Geometric does not reach {value:g} within {limit} steps")
        return steps


class Constant(Schedule):
    """The same number at every step.

    Arguments:
        value: That number.
    """

    def __init__(self, value: float = 1.0) -> None:
        super().__init__()
        self.value = value

    def values(self, steps: int) -> Tensor:
        return torch.full((steps,), self.value, dtype=torch.float64)


def build_geometric(config: GeometricConfig, context: Context) -> Geometric:
    """The schedule ``geometric``."""
    return Geometric(config.start, config.ratio)


def build_constant(config: ConstantConfig, context: Context) -> Constant:
    """The schedule ``constant``."""
    return Constant(config.value)
