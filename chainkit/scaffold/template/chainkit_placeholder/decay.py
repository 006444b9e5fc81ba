r"""A learning rate that rises, holds and falls.

.. math:: f(i) = \min\left(1,\; \frac{i + 1}{r n},\; \frac{n - i}{d n}\right)

at update i of n, with shares r of rise and d of fall.
"""

from __future__ import annotations

from collections.abc import Callable

from chainkit import Context
from chainkit_placeholder.configs import DecayConfig


def build(config: DecayConfig, context: Context) -> Callable[[int, int], float]:
    """A function from the update and the number of updates to the factor of the learning rate."""

    def factor(update: int, updates: int) -> float:
        rising = (update + 1) / max(1.0, config.rise * updates)
        falling = (updates - update) / max(1.0, config.fall * updates)
        return max(0.0, min(1.0, rising, falling))

    return factor
