r"""What is infused: narrow distributions around x.

.. math:: \delta_{x_i}(s_i) = N(s_i; x_i, \sigma^2) \quad \text{or} \quad \mathrm{Bernoulli}(s_i; |x_i - f|)

(infusion paper, section 3.3.3.1 and note 1: not a Dirac delta, so that log q exists).
"""

from __future__ import annotations

import math

import attrs
from torch import Tensor

from chainkit.distributions import Bernoulli, Gaussian


@attrs.frozen
class NearGaussian:
    """N(x, sigma^2) for each element of real data.

    Arguments:
        variance: sigma^2 > 0, in squared model units.
    """

    variance: float = 1e-4

    def __call__(self, origin: Tensor) -> Gaussian:
        """The distribution around x, [B, *event]."""
        return Gaussian(origin, origin.new_full((), self.variance))


@attrs.frozen
class NearBits:
    """x with each bit turned over with a small probability, for data of zeros and ones.

    Arguments:
        flip: f, in (0, 1/2].
    """

    flip: float = 1e-3

    def __call__(self, origin: Tensor) -> Bernoulli:
        """The distribution around x, [B, *event]."""
        return Bernoulli((2 * origin - 1) * math.log((1 - self.flip) / self.flip))
