"""Settings of fixed diffusion."""

from __future__ import annotations

from typing import Any, Literal

import attrs
from attrs import field

from chainkit.component import NetworkPart, SchedulePart, choose
from chainkit.config import above, between, not_empty

_VARIANCE = [above(0), between(0, 1)]


def _inside(instance: Any, attribute: Any, value: float | None) -> None:
    """The number, if given, lies strictly between 0 and 1."""
    if value is not None and not 0 < value < 1:
        raise ValueError(f"must be above 0 and below 1, not {value!r}")


def _range(instance: Any, attribute: Any, value: list[float] | None) -> None:
    """The list, if given, holds a lower and a higher number."""
    if value is not None and not (len(value) == 2 and value[0] < value[1]):
        raise ValueError(f"must be [smallest, largest], not {value!r}")


@attrs.frozen(kw_only=True)
class LinearConfig:
    """Variances that rise evenly (Ho et al. 2020, section 4).

    Arguments:
        start: b_1, above 0 and at most 1. The defaults are meant for 1000 steps.
        end: b_K, above 0 and at most 1.
    """

    start: float = field(default=1e-4, validator=_VARIANCE)
    end: float = field(default=0.02, validator=_VARIANCE)


@attrs.frozen(kw_only=True)
class GeometricConfig:
    """Variances that rise by the same factor from step to step.

    Arguments:
        start: b_1, above 0 and at most 1. The defaults are meant for some tens of steps.
        end: b_K, above 0 and at most 1.
    """

    start: float = field(default=1e-3, validator=_VARIANCE)
    end: float = field(default=0.5, validator=_VARIANCE)


@attrs.frozen(kw_only=True)
class FixedConfig:
    """Variances that are written out.

    Arguments:
        values: b_1..b_K, each above 0 and at most 1; a single one stands for every step.
    """

    values: list[float] = field(validator=[not_empty, *_VARIANCE])


@attrs.frozen(kw_only=True)
class CosineConfig:
    """The cosine schedule (Nichol and Dhariwal 2021, eq. 17), for any number of steps.

    Arguments:
        offset: Keeps b_1 from vanishing, above 0.
        limit: The largest variance, above 0 and below 1.
    """

    offset: float = field(default=0.008, validator=above(0))
    limit: float = field(default=0.999, validator=_inside)


@attrs.frozen(kw_only=True)
class HarmonicConfig:
    """b_k = 1 / (K - k + 1): each step erases the same share of the data (Sohl-Dickstein et al. 2015, section 2.4.1).

    Arguments:
        form: ``paper``, which ends in noise exactly (b_K = 1); or ``code``, the reciprocals of K
            numbers spaced evenly from K to 2 (b_K = 1/2), as in the released code.
    """

    form: Literal["paper", "code"] = "paper"


@attrs.frozen(kw_only=True)
class LearnedConfig:
    """Variances that are learned with the operator, all but the first (Sohl-Dickstein et al. 2015, section 2.4.1).

    Arguments:
        initial: Where they start from, each above 0 and below 1.
        first: b_1, which stays, above 0 and below 1; left out, that of ``initial``.
    """

    initial: SchedulePart = choose("variance-cosine")
    first: float | None = field(default=None, validator=_inside)


@attrs.frozen(kw_only=True)
class GaussianDiffusionConfig:
    """Data fades and standard normal noise takes its place (Sohl-Dickstein et al. 2015), for real data.

    Arguments:
        schedule: b_1..b_K, the variance of the noise that each step adds, above 0 and at most 1.
    """

    schedule: SchedulePart = choose("variance-cosine")


@attrs.frozen(kw_only=True)
class BinomialDiffusionConfig:
    """Bits are redrawn from the prior, more and more of them (Sohl-Dickstein et al. 2015), for binary data.

    Needs a Bernoulli prior, whose rates it ends in.

    Arguments:
        schedule: b_1..b_K, the probability that a step redraws a bit, above 0 and at most 1; not learned.
    """

    schedule: SchedulePart = choose("variance-harmonic")


@attrs.frozen(kw_only=True)
class GaussianReverseConfig:
    """A factorial Gaussian, mean and variance learned around those of the forward kernel (Sohl-Dickstein et al. 2015).

    Arguments:
        network: The network, with two heads; it must be told the step, or read out per step.
        mean: Whether states ``decay`` towards what the network says, or ``shift`` by sqrt(b_k) times
            it, as in the released code.
        first_step: Whether the last factor p(x | s_1) is the ``forward`` kernel, as in the paper, or ``learned``.
    """

    network: NetworkPart = choose("mlp", hidden=[256, 256], step="embedding")
    mean: Literal["decay", "shift"] = "decay"
    first_step: Literal["forward", "learned"] = "forward"


@attrs.frozen(kw_only=True)
class BernoulliReverseConfig:
    """Independent bits, their flips learned around those of the forward kernel (Sohl-Dickstein et al. 2015).

    Arguments:
        network: The network, with one head; it must be told the step, or read out per step.
        first_step: Whether the last factor p(x | s_1) is the ``forward`` kernel, as in the paper, or ``learned``.
    """

    network: NetworkPart = choose("mlp", hidden=[256, 256], step="embedding")
    first_step: Literal["forward", "learned"] = "forward"


@attrs.frozen(kw_only=True)
class DataPredictionConfig:
    """A Gaussian that follows from the predicted mean and variance of the data point: for chains of few steps.

    Arguments:
        network: The network, with two heads; it must be told the step, or read out per step.
        floor: Smallest variance of an element of the data to start from, above 0, in squared model units.
    """

    network: NetworkPart = choose("mlp", hidden=[256, 256], step="embedding")
    floor: float = field(default=1e-4, validator=above(0))


@attrs.frozen(kw_only=True)
class NoisePredictionConfig:
    """A Gaussian whose mean follows from the predicted noise (Ho et al. 2020, eq. 11).

    Arguments:
        network: The network, with one head; it must be told the step, or read out per step.
        variance: ``b``, that of the forward kernel, or ``posterior``, that of the step back from a
            known data point (b_1 at the last step).
        clip: [smallest, largest] value of the data, in model units, to which predicted data points
            are held; left out, they are free.
    """

    network: NetworkPart = choose("mlp", hidden=[256, 256], step="embedding")
    variance: Literal["b", "posterior"] = "b"
    clip: list[float] | None = field(default=None, validator=_range)


@attrs.frozen(kw_only=True)
class DiffusionBoundConfig:
    """The variational bound with its divergences in closed form (Sohl-Dickstein et al. 2015; Ho et al. 2020, eq. 5).

    Arguments:
        steps: ``all`` steps of a walk, or ``one`` random step with weight K.
        shared: With ``one``, whether all examples of a batch share the step, as in the released
            code; otherwise each example has its own.
    """

    steps: Literal["all", "one"] = "one"
    shared: bool = False


@attrs.frozen(kw_only=True)
class DiffusionSimpleConfig:
    """Mean squared error of the predicted noise at one random step (Ho et al. 2020, eq. 14).

    Arguments:
        shared: Whether all examples of a batch share the step.
    """

    shared: bool = False
