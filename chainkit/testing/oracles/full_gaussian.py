r"""A Gaussian whose elements depend on each other.

.. math:: \log N(s; \mu, V) = -\tfrac12 \left[(s - \mu)^T V^{-1} (s - \mu) + \log \det V + D \log 2\pi\right]
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from chainkit.capabilities import Density, HasMean, Reparametrised
from chainkit.kernel import Kernel
from chainkit.random import Source, normal


class FullGaussian(Density, Reparametrised, HasMean):
    """N(mu, V), drawn from an explicit source.

    Arguments:
        mean: mu, [B, *event], in model units.
        covariance: V, positive definite, [D, D] with D the number of elements, in squared model units.
    """

    def __init__(self, mean: Tensor, covariance: Tensor) -> None:
        self._mean = mean
        self.covariance = covariance

    @property
    def mean(self) -> Tensor:
        return self._mean

    def rsample(self, source: Source = None) -> Tensor:
        noise = normal(self._mean, source).flatten(1) @ torch.linalg.cholesky(self.covariance).mT
        return self._mean + noise.view_as(self._mean)

    def sample(self, source: Source = None) -> Tensor:
        return self.rsample(source).detach()

    def log_prob(self, value: Tensor) -> Tensor:
        return MultivariateNormal(self._mean.flatten(1), self.covariance).log_prob(value.flatten(1))


class FullGaussianKernel(Kernel):
    """N(mu, T V).

    Arguments:
        mean: mu, [B, *event], in model units.
        covariance: V at temperature 1, [D, D], in squared model units.
    """

    def __init__(self, mean: Tensor, covariance: Tensor) -> None:
        self.mean = mean
        self.covariance = covariance

    def at(self, temperature: float | Tensor = 1.0) -> FullGaussian:
        """The distribution at one temperature for all rows."""
        return FullGaussian(self.mean, self.covariance * temperature)
