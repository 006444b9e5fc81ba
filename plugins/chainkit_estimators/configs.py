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
