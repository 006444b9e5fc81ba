"""Settings of the estimators."""

from __future__ import annotations

from typing import Literal

import attrs
from attrs import field

from chainkit.component import DatasetPart
from chainkit.config import above, at_least


@attrs.frozen(kw_only=True)
class LowerBoundConfig:
    """The variational lower bound on log p(x), the mean of log w.

    Arguments:
        walks: Walks from each example, 1 or more.
        max_rows: About how many walks are held in memory at once, 1 or more; the figure does not
            depend on it.
    """

    walks: int = field(default=10, validator=at_least(1))
    max_rows: int = field(default=4000, validator=at_least(1))


@attrs.frozen(kw_only=True)
class ImportanceConfig:
    """The importance-sampling estimate of log p(x), the log of the mean of w.

    Arguments:
        walks: Walks from each example, 1 or more; the infusion paper takes 20 000.
        max_rows: About how many walks are held in memory at once, 1 or more; the figure does not
            depend on it.
    """

    walks: int = field(default=1000, validator=at_least(1))
    max_rows: int = field(default=4000, validator=at_least(1))


@attrs.frozen(kw_only=True)
class FactorialConfig:
    """log p(x) of the best model without dependencies: the baseline to read beside every figure of a chain.

    Arguments:
        max_rows: How many examples are held in memory at once, 1 or more.
    """

    max_rows: int = field(default=4000, validator=at_least(1))


@attrs.frozen(kw_only=True)
class OptimumConfig:
    """log p(x) under the law that the data was drawn from, where it is known: no model exceeds it in expectation.

    Arguments:
        max_rows: How many examples to hold in memory at once, 1 or more.
    """

    max_rows: int = field(default=4000, validator=at_least(1))


@attrs.frozen(kw_only=True)
class PriorGapConfig:
    """How far the ends of the walks are from the prior: a lower estimate of KL(q(s_K) || p*).

    Arguments:
        max_rows: How many walks are held in memory at once, 1 or more.
    """

    max_rows: int = field(default=4000, validator=at_least(1))


@attrs.frozen(kw_only=True)
class ClassifierConfig:
    """How clearly samples read as one of the data's classes, to a classifier trained on the spot; needs labels.

    Arguments:
        samples: Number of samples that are read, 2 or more.
        steps: Number of sampling steps; left out, the trained K.
        hidden: Units of the classifier's hidden layer, 1 or more.
        epochs: Passes over its training examples, 1 or more.
        train_examples: The most training examples that it sees, 1 or more.
    """

    samples: int = field(default=1000, validator=at_least(2))
    steps: int | None = field(default=None, validator=at_least(1))
    hidden: int = field(default=256, validator=at_least(1))
    epochs: int = field(default=10, validator=at_least(1))
    train_examples: int = field(default=20_000, validator=at_least(1))


@attrs.frozen(kw_only=True)
class ParzenConfig:
    """Log density of a Parzen window: isotropic Gaussians around samples of the chain.

    It is made of samples alone, so that it applies to every chain, and ranks models badly in high
    dimension (Theis et al. 2016). Published figures of MNIST: 10 000 centres, data on [0, 1].

    Arguments:
        samples: Number of centres, 1 or more.
        centres: The ``means`` of the last step, as in published figures, or ``draws``.
        sigma: Width, above 0, in model units; left out, the best for validation examples (a held-out
            tenth of the training split where there are none) on a logarithmic grid.
        chosen_on: How many of them the width is chosen on at most, 1 or more.
        steps: Number of sampling steps; left out, the trained K.
        max_rows: How many examples are held in memory at once, 1 or more; the figure does not
            depend on it.
        data: Dataset that is judged, if other than the recipe's: the same examples in another
            preparation, such as the grey pictures that were made binary for training.
    """

    samples: int = field(default=10_000, validator=at_least(1))
    centres: Literal["means", "draws"] = "means"
    sigma: float | None = field(default=None, validator=above(0))
    chosen_on: int = field(default=1000, validator=at_least(1))
    steps: int | None = field(default=None, validator=at_least(1))
    max_rows: int = field(default=1000, validator=at_least(1))
    data: DatasetPart | None = None
