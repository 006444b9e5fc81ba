"""Settings of the priors."""

from __future__ import annotations

import attrs
from attrs import field

from chainkit.config import above, at_least, between


@attrs.frozen(kw_only=True)
class GaussianConfig:
    """A factorial Gaussian: real noise.

    Arguments:
        mean: Mean of every element, in model units; left out, see ``fit``.
        variance: Variance of every element, above 0, in squared model units; left out, see ``fit``.
        fit: Whether what is left out is taken from the prepared training data; if not, the mean is
            0 and the variance 1.
        per_dimension: Whether every element is fitted on its own, or one mean and one variance are
            shared by all of them.
        floor: Added to a fitted variance, 0 or more, in squared model units, so that an element
            that never varies keeps a density.
    """

    mean: float | None = None
    variance: float | None = field(default=None, validator=above(0))
    fit: bool = True
    per_dimension: bool = True
    floor: float = field(default=1e-5, validator=at_least(0))


@attrs.frozen(kw_only=True)
class BernoulliConfig:
    """Independent bits: binary noise.

    Arguments:
        rate: Probability of a 1, in [0, 1], the same for every element; left out, see ``fit``.
        fit: Whether a rate that is left out is taken from the prepared training data; if not, it
            is 1/2.
        per_dimension: Whether every element is fitted on its own, or one rate is shared by all.
        margin: All rates are kept within [margin, 1 - margin], above 0 and at most 1/2, so that a
            bit that never varies keeps a finite log mass.
    """

    rate: float | None = field(default=None, validator=between(0, 1))
    fit: bool = True
    per_dimension: bool = True
    margin: float = field(default=1e-3, validator=[above(0), between(0, 0.5)])
