"""The keys of the learning-rate schedules. This module does not import torch."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import attrs
from attrs import field

from chainkit.config import above, at_least, between, not_empty


def _increasing(instance: Any, attribute: Any, value: list[float]) -> None:
    if any(later <= earlier for earlier, later in pairwise(value)):
        raise ValueError(f"must increase, not {value!r}")


@attrs.frozen(kw_only=True)
class CosineConfig:
    """Half a cosine from 1 to ``final`` (Loshchilov and Hutter 2017), after a linear rise.

    Arguments:
        warmup: Updates of the rise, 0 or more.
        final: Factor at the end of training, in [0, 1].
    """

    warmup: int = field(default=0, validator=at_least(0))
    final: float = field(default=0.0, validator=between(0, 1))


@attrs.frozen(kw_only=True)
class LinearConfig:
    """A straight line from 1 to ``final``, after a linear rise.

    Arguments:
        warmup: Updates of the rise, 0 or more.
        final: Factor at the end of training, in [0, 1].
    """

    warmup: int = field(default=0, validator=at_least(0))
    final: float = field(default=0.0, validator=between(0, 1))


@attrs.frozen(kw_only=True)
class ExponentialConfig:
    """The same factor at every update, from 1 to ``final``, after a linear rise.

    Arguments:
        warmup: Updates of the rise, 0 or more.
        final: Factor at the end of training, in (0, 1].
    """

    warmup: int = field(default=0, validator=at_least(0))
    final: float = field(default=0.01, validator=[above(0), between(0, 1)])


@attrs.frozen(kw_only=True)
class MilestonesConfig:
    """A drop at each of several points of training.

    Arguments:
        at: The points, as shares of all updates, increasing, at least one, each in [0, 1].
        factor: The drop, in [0, 1].
    """

    at: list[float] = field(factory=lambda: [0.5, 0.75], validator=[not_empty, between(0, 1), _increasing])
    factor: float = field(default=0.1, validator=between(0, 1))


@attrs.frozen(kw_only=True)
class StepConfig:
    """A drop every so many updates.

    Arguments:
        every: Updates between drops, 1 or more.
        factor: The drop, in [0, 1].
    """

    every: int = field(validator=at_least(1))
    factor: float = field(default=0.1, validator=between(0, 1))
