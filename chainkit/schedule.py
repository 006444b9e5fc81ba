"""Schedules: one number per step.

Temperatures, infusion rates and diffusion variances are all functions of the step, of which a
recipe chooses one. Whoever owns a schedule says what its index counts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class Schedule(nn.Module, ABC):
    """A sequence of numbers, one per step of a chain; learned where it has parameters."""

    @abstractmethod
    def values(self, steps: int) -> Tensor:
        """The numbers for steps 1..steps, in that order.

        Arguments:
            steps: Length of the chain, at least 1.

        Returns:
            A tensor [steps], with gradient where the schedule is learned, otherwise in float64.
        """

    def steps_to_reach(self, value: float, limit: int = 100_000) -> int:
        """The smallest chain length whose last value is at least ``value``.

        For the geometric temperature ``T_k = ratio^(k-1)`` that is ``1 + ceil(log_ratio(value))``,
        the chain length of eqs. 4-5 of the walkback paper.

        Arguments:
            value: The number to be reached.
            limit: The longest chain to consider.

        Raises:
            ValueError: No chain of up to ``limit`` steps reaches it.
        """
        reached = torch.nonzero(self.values(limit) >= value * (1 - 1e-12))
        if not len(reached):
            raise ValueError(f"{type(self).__name__} does not reach {value:g} within {limit} steps")
        return int(reached[0]) + 1
