"""The keys of the datasets that are drawn at random. This module does not import torch."""

from __future__ import annotations

from typing import Any, Literal

import attrs
from attrs import field

from chainkit.config import above, at_least, between
from chainkit_datasets.configs import PixelConfig, with_inherited_keys


# Without slots, so that it can stand beside another base class that has them.
@attrs.frozen(kw_only=True, slots=False)
class DrawnConfig:
    """Keys of every dataset that is drawn at random.

    Arguments:
        n: Number of training examples, 2 or more.
        valid: Number of validation examples, 0 or more.
        test: Number of test examples, 0 or more.
        seed: Seed of the draws, 0 or more.
    """

    n: int = field(default=10_000, validator=at_least(2))
    valid: int = field(default=1000, validator=at_least(0))
    test: int = field(default=1000, validator=at_least(0))
    seed: int = field(default=0, validator=at_least(0))


@with_inherited_keys
@attrs.frozen(kw_only=True)
class PatchesConfig(PixelConfig, DrawnConfig):
    """Square patches of scikit-learn's two sample photographs, 8 bits.

    Arguments:
        size: Rows and columns of a patch, 2 to 64.
        channels: ``grey`` (one channel, luma of Rec. 601) or ``colour`` (three).
    """

    size: int = field(default=8, validator=between(2, 64))
    channels: Literal["grey", "colour"] = "grey"


@with_inherited_keys
@attrs.frozen(kw_only=True)
class SwissRollConfig(DrawnConfig):
    """A swiss roll in the plane: t (cos t, sin t) with t uniform on [3 pi / 2, 9 pi / 2], and normal noise.

    Arguments:
        noise: Standard deviation of the noise before standardising, 0 or more. It sets the best
            log-likelihood that any model can have: standardised, -1.94 bits at 0.5, 0.38 at 0.1,
            2.70 at 0.02; none is best at 0.
        standardise: Subtracts the distribution's mean and divides by its standard deviation, per axis.
    """

    noise: float = field(default=0.5, validator=at_least(0))
    standardise: bool = True


@with_inherited_keys
@attrs.frozen(kw_only=True)
class SpiralConfig(DrawnConfig):
    """A spiral in the plane: t (cos a t, sin a t) with a = 2 pi ``turns``, t^2 uniform on [0, 1], and normal noise.

    Arguments:
        turns: Revolutions, above 0.
        noise: Standard deviation of the noise, 0 or more.
    """

    turns: float = field(default=2.0, validator=above(0))
    noise: float = field(default=0.02, validator=at_least(0))


@with_inherited_keys
@attrs.frozen(kw_only=True)
class CircleConfig(DrawnConfig):
    """The unit circle in the plane, with normal noise.

    Arguments:
        noise: Standard deviation of the noise, 0 or more.
    """

    noise: float = field(default=0.05, validator=at_least(0))


@with_inherited_keys
@attrs.frozen(kw_only=True)
class GridConfig(DrawnConfig):
    """Nine Gaussians in the plane, centred on {-1, 0, 1}^2 and equally probable.

    Arguments:
        noise: Standard deviation of each Gaussian, above 0.
        labels: The chain is conditioned on the Gaussian, 0..8, row by row.
    """

    noise: float = field(default=0.05, validator=above(0))
    labels: bool = False


def _fits(instance: Any, attribute: Any, value: int) -> None:
    if instance.period > instance.length:
        raise ValueError(f"leaves no beat: the period is {instance.period}, and the length {instance.length}")


@with_inherited_keys
@attrs.frozen(kw_only=True)
class HeartbeatConfig(DrawnConfig):
    """Binary sequences with a 1 in every ``period``-th bin and a phase that is uniform: log p(x) = -ln(period) at best.

    Arguments:
        length: Bins of a sequence, 1 or more.
        period: Distance of the ones and number of phases, 1 up to ``length``.
        labels: The chain is conditioned on the phase, 0..period-1.
    """

    length: int = field(default=20, validator=[at_least(1), _fits])
    period: int = field(default=5, validator=[at_least(1), _fits])
    labels: bool = False
