"""Settings of the estimators that look at samples, and of the isotropic output."""

from __future__ import annotations

from typing import Literal

import attrs
from attrs import field

from chainkit.component import EstimatorPart, choose
from chainkit.config import above, at_least, not_empty


@attrs.frozen(kw_only=True)
class IsotropicConfig:
    """What another estimator says of the chain with one output variance for all elements (infusion paper, table 3.1).

    Arguments:
        estimator: The estimator: ``importance``, ``lower-bound`` or another of log w.
        variance: The output variance, above 0, in squared model units; left out, it is chosen on
            validation data.
        fit_walks: Walks from each example to choose it from, 1 or more; with 1 it is the best for
            the lower bound.
        fit_examples: Examples to choose it on, 1 or more.
        max_rows: About how many walks are held in memory at once, 1 or more.
    """

    estimator: EstimatorPart = choose("importance")
    variance: float | None = field(default=None, validator=above(0))
    fit_walks: int = field(default=10, validator=at_least(1))
    fit_examples: int = field(default=500, validator=at_least(1))
    max_rows: int = field(default=4000, validator=at_least(1))


@attrs.frozen(kw_only=True)
class MmdConfig:
    """The squared maximum mean discrepancy between samples and data, without bias.

    Arguments:
        samples: Number of samples, 3 or more.
        steps: Number of sampling steps; left out, the trained K.
        features: What is compared: ``pixels``, or the hidden layer of a small ``classifier``, which needs labels.
        last: Whether the last step of a sample is a ``draw``, as all before it, or its ``mean`` is taken, as
            published figures often do: without the noise of that step.
        bandwidths: Bandwidths of the Gaussian kernels that are added up, each above 0.
        relative: Whether these are multiples of the median distance between training examples.
    """

    samples: int = field(default=1000, validator=at_least(3))
    steps: int | None = field(default=None, validator=at_least(1))
    features: Literal["pixels", "classifier"] = "pixels"
    last: Literal["draw", "mean"] = "draw"
    bandwidths: list[float] = field(factory=lambda: [0.25, 0.5, 1.0, 2.0, 4.0], validator=[not_empty, above(0)])
    relative: bool = True


@attrs.frozen(kw_only=True)
class NeighboursConfig:
    """Coverage, density, precision and recall of samples, by nearest neighbours.

    Arguments:
        samples: Number of samples, more than ``k``; as many as there are examples make the scores
            comparable to published ones.
        steps: Number of sampling steps; left out, the trained K.
        features: What is compared: ``pixels``, or the hidden layer of a small ``classifier``, which needs labels.
        last: Whether the last step of a sample is a ``draw``, as all before it, or its ``mean`` is taken, as
            published figures often do: without the noise of that step.
        k: Number of neighbours, 1 or more.
    """

    samples: int = field(default=1000, validator=at_least(2))
    steps: int | None = field(default=None, validator=at_least(1))
    features: Literal["pixels", "classifier"] = "pixels"
    last: Literal["draw", "mean"] = "draw"
    k: int = field(default=5, validator=at_least(1))

    def __attrs_post_init__(self) -> None:
        if self.samples <= self.k:
            raise ValueError(f"samples: must be more than k = {self.k}, not {self.samples}")


@attrs.frozen(kw_only=True)
class CopyingConfig:
    """The share of samples that are nearer to a training example than training examples are to each other.

    Arguments:
        samples: Number of samples, 2 or more.
        steps: Number of sampling steps; left out, the trained K.
        features: What is compared: ``pixels``, or the hidden layer of a small ``classifier``, which needs labels.
        last: Whether the last step of a sample is a ``draw``, as all before it, or its ``mean`` is taken, as
            published figures often do: without the noise of that step.
        train_examples: The most training examples to compare with, 2 or more; left out, all.
    """

    samples: int = field(default=1000, validator=at_least(2))
    steps: int | None = field(default=None, validator=at_least(1))
    features: Literal["pixels", "classifier"] = "pixels"
    last: Literal["draw", "mean"] = "draw"
    train_examples: int | None = field(default=None, validator=at_least(2))


@attrs.frozen(kw_only=True)
class FrechetConfig:
    """The Fréchet distance between samples and data, on the features of a small classifier or on pixels.

    Arguments:
        samples: Number of samples, 20 or more.
        steps: Number of sampling steps; left out, the trained K.
        features: What is compared: ``pixels``, or the hidden layer of a small ``classifier``, which needs labels.
        last: Whether the last step of a sample is a ``draw``, as all before it, or its ``mean`` is taken, as
            published figures often do: without the noise of that step.
    """

    samples: int = field(default=1000, validator=at_least(20))
    steps: int | None = field(default=None, validator=at_least(1))
    features: Literal["pixels", "classifier"] = "classifier"
    last: Literal["draw", "mean"] = "draw"


@attrs.frozen(kw_only=True)
class ClassScoreConfig:
    """An Inception-like score of samples, from a small classifier trained on the spot; needs labels.

    Arguments:
        samples: Number of samples, 20 or more.
        steps: Number of sampling steps; left out, the trained K.
        last: Whether the last step of a sample is a ``draw``, as all before it, or its ``mean`` is taken, as
            published figures often do: without the noise of that step.
    """

    samples: int = field(default=1000, validator=at_least(20))
    steps: int | None = field(default=None, validator=at_least(1))
    last: Literal["draw", "mean"] = "draw"


@attrs.frozen(kw_only=True)
class FidelityConfig:
    """FID and Inception score by torch-fidelity (``pip install chainkit[fidelity]``), for images.

    Arguments:
        samples: Number of samples, 2 or more; published figures have 50 000 against all training examples.
        steps: Number of sampling steps; left out, the trained K.
        last: Whether the last step of a sample is a ``draw``, as all before it, or its ``mean`` is taken, as
            published figures often do: without the noise of that step.
        extractor: Name of the feature extractor, one that torch-fidelity knows or that was
            registered with it.
        weights: File with the weights of Inception; left out, where torch keeps what it downloads. Nothing is downloaded.
    """

    samples: int = field(default=1000, validator=at_least(2))
    steps: int | None = field(default=None, validator=at_least(1))
    last: Literal["draw", "mean"] = "draw"
    extractor: str = "inception-v3-compat"
    weights: str | None = None
