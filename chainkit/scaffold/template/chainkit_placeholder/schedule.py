r"""Half a cosine.

.. math:: f_k = f_1 + (f_K - f_1) \left(1 - \cos\left(\pi \frac{k - 1}{K - 1}\right)\right) / 2
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from chainkit import Context, Schedule
from chainkit_placeholder.configs import ScheduleConfig


class Swing(Schedule):
    """From one value to another.

    Arguments:
        start: f_1.
        end: f_K.
    """

    def __init__(self, start: float, end: float) -> None:
        super().__init__()
        self.start = start
        self.end = end

    def values(self, steps: int) -> Tensor:
        position = torch.linspace(0, 1, steps, dtype=torch.float64)
        return self.start + (self.end - self.start) * (1 - (math.pi * position).cos()) / 2


def build(config: ScheduleConfig, context: Context) -> Swing:
    """The schedule that a recipe describes."""
    return Swing(config.start, config.end)
