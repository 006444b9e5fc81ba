"""Settings of the estimators."""

from __future__ import annotations

import attrs
from attrs import field

from chainkit.config import at_least


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
