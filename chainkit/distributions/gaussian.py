r"""The diagonal Gaussian.

.. math:: \log N(s; \mu, v) = -\tfrac12 \sum_i \left[ (s_i - \mu_i)^2 / v_i + \log v_i + \log 2\pi \right]
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from chainkit.capabilities import Factorial, HasMean, Mixable, Reparametrised
from chainkit.random import Source, chance, normal

LOG_2PI = math.log(2 * math.pi)


class Gaussian(Mixable, Reparametrised, HasMean):
    """A Gaussian with independent elements.

    Arguments:
        mean: mu, [B, *event], in model units.
        variance: v > 0, broadcastable to ``mean``, in squared model units.
    """

    def __init__(self, mean: Tensor, variance: Tensor) -> None:
        self._mean = mean
        self.variance = variance

    @property
    def mean(self) -> Tensor:
        return self._mean

    def rsample(self, source: Source = None) -> Tensor:
        return self._mean + self.variance.sqrt() * normal(self._mean, source)

    def sample(self, source: Source = None) -> Tensor:
        mean = self._mean.detach()
        return normal(mean, source).mul_(self.variance.detach().sqrt()).add_(mean)

    def mixed(self, other: Factorial, rate: float, source: Source = None) -> Gaussian | None:
        if not isinstance(other, Gaussian):
            return None
        where = chance(self._mean, rate, source)
        return Gaussian(torch.where(where, other.mean, self._mean), torch.where(where, other.variance, self.variance))

    def log_prob_elementwise(self, value: Tensor) -> Tensor:
        return -0.5 * (torch.addcdiv(self.variance.log(), (value - self._mean).square(), self.variance) + LOG_2PI)

    def log_prob(self, value: Tensor) -> Tensor:
        return self.log_prob_elementwise(value).flatten(1).sum(1)
