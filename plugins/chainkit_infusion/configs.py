"""Settings of infusion training."""

from __future__ import annotations

from typing import Literal

import attrs
from attrs import field

from chainkit.component import NetworkPart, SchedulePart, choose
from chainkit.config import above, at_least, between


@attrs.frozen(kw_only=True)
class IncreasingConfig:
    """A rate that rises by the same amount at every step, alpha_t = alpha_{t-1} + omega (infusion paper, note 2).

    Arguments:
        omega: Increase per step, in [0, 1]; the paper takes 0.01 for 15 steps, 0.02 for 20.
        alpha0: The first rate, in [0, 1].
    """

    omega: float = field(default=0.01, validator=between(0, 1))
    alpha0: float = field(default=0.0, validator=between(0, 1))


@attrs.frozen(kw_only=True)
class InfusionConfig:
    """Walks of the model into which the data point is infused, for real data (infusion paper, section 3.3.3.1).

    Arguments:
        rate: alpha_t, the probability that an element is drawn near x, in [0, 1], for t = 0..K-1:
            the first value is the rate of s_K, the last that of s_1. Rounded to multiples of 2^-16.
        variance: Variance of what is drawn near x, above 0, in squared model units.
    """

    rate: SchedulePart = choose("increasing")
    variance: float = field(default=1e-4, validator=above(0))


@attrs.frozen(kw_only=True)
class BinaryInfusionConfig:
    """Walks of the model into which the data point is infused, for binary data.

    Arguments:
        rate: alpha_t, the probability that a bit is taken from x, in [0, 1], for t = 0..K-1: the
            first value is the rate of s_K, the last that of s_1. Rounded to multiples of 2^-16.
        flip: Probability that a bit taken from x is turned over, above 0 and at most 1/2.
    """

    rate: SchedulePart = choose("increasing")
    flip: float = field(default=1e-3, validator=[above(0), between(0, 0.5)])


@attrs.frozen(kw_only=True)
class InfusionGaussianConfig:
    """A factorial Gaussian with a mean head and a variance head (infusion paper, section 3.5).

    Arguments:
        network: The network, with two heads.
        mean: How the mean head is read: ``sigmoid`` for data on [0, 1], ``linear`` for other data.
        variance_scale: beta > 0, in squared model units: variance = beta sigmoid(head) + floor.
        variance_floor: epsilon, 0 or more, in squared model units: the smallest variance.
        output_variance: If given, the variance of every element of the last factor p(x | s_1), above
            0, in squared model units, in place of the head's: the isotropic output of table 3.1.
    """

    network: NetworkPart = choose("mlp", hidden=[1200, 1200], norm="per-step")
    mean: Literal["sigmoid", "linear"] = "sigmoid"
    variance_scale: float = field(default=0.1, validator=above(0))
    variance_floor: float = field(default=1e-4, validator=at_least(0))
    output_variance: float | None = field(default=None, validator=above(0))


@attrs.frozen(kw_only=True)
class InfusionIsotropicConfig:
    """A Gaussian with a mean head and one variance for all elements.

    Arguments:
        network: The network, with one head.
        mean: How the mean head is read: ``sigmoid`` for data on [0, 1], ``linear`` for other data.
        variance: The variance, or where training starts from, above 0, in squared model units.
        learned: Whether the variance is trained.
        variance_floor: The smallest variance that training can reach, above 0 and below ``variance``,
            in squared model units; only where the variance is learned.
    """

    network: NetworkPart = choose("mlp", hidden=[1200, 1200], norm="per-step")
    mean: Literal["sigmoid", "linear"] = "sigmoid"
    variance: float = field(default=0.01, validator=above(0))
    learned: bool = False
    variance_floor: float = field(default=1e-4, validator=above(0))


@attrs.frozen(kw_only=True)
class DenoisingConfig:
    """Every state of a walk is denoised into x at once (infusion paper, section 3.3.3.2, weights of note 3)."""


@attrs.frozen(kw_only=True)
class LowerBoundConfig:
    """The bound of eq. 3.3.3, differentiated through the draws of the walk (infusion paper, section 3.3.4.1)."""
