r"""Factors of the learning rate.

With n updates in all, of which the first w are a linear rise, and the part of the others that is done,
:math:`u = (i - w) / (n - w)` at update i = 0..n - 1, the factor falls from 1 to f:

.. math::
    \text{cosine } f + (1 - f) \frac{1 + \cos \pi u}{2}, \qquad
    \text{linear } f + (1 - f)(1 - u), \qquad
    \text{exponential } f^u
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from chainkit.component import Context
    from chainkit_optim.decay_configs import CosineConfig, ExponentialConfig, LinearConfig, MilestonesConfig, StepConfig

Decay: TypeAlias = Callable[[int, int], float]


def falling(curve: Callable[[float], float], warmup: int) -> Decay:
    """A linear rise to 1, then a curve of the part that is done.

    Arguments:
        curve: Maps u in [0, 1] to the factor; 1 at 0.
        warmup: w; the factor at update i < w is (i + 1) / (w + 1).
    """

    def factor(update: int, updates: int) -> float:
        if update < warmup:
            return (update + 1) / (warmup + 1)
        return curve(min(1.0, (update - warmup) / max(1, updates - warmup)))

    return factor


def build_cosine(config: CosineConfig, context: Context) -> Decay:
    """The decay ``cosine``."""
    final = config.final
    return falling(lambda done: final + (1 - final) * (1 + math.cos(math.pi * done)) / 2, config.warmup)


def build_linear(config: LinearConfig, context: Context) -> Decay:
    """The decay ``linear``."""
    final = config.final
    return falling(lambda done: final + (1 - final) * (1 - done), config.warmup)


def build_exponential(config: ExponentialConfig, context: Context) -> Decay:
    """The decay ``exponential``."""
    final = config.final
    return falling(lambda done: final**done, config.warmup)


def build_milestones(config: MilestonesConfig, context: Context) -> Decay:
    """The decay ``milestones``: the drop to the power of the points passed."""
    return lambda update, updates: config.factor ** sum(update >= point * updates for point in config.at)


def build_step(config: StepConfig, context: Context) -> Decay:
    """The decay ``step``: the drop to the power of floor(update / every)."""
    return lambda update, updates: config.factor ** (update // config.every)
