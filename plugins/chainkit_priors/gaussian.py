r"""The factorial Gaussian prior.

.. math:: p^*(s_K) = \prod_i N(s_{K,i}; \mu_i, v_i)

Fitted per dimension it maximises eq. 3.3.1 of the infusion paper; with one variance for all
elements it is the Gaussian with the variance of the data of the walkback paper (appendix B).
"""

from __future__ import annotations

import torch
from torch import Tensor

from chainkit import Context, Prior
from chainkit.distributions import Gaussian
from chainkit_priors.configs import GaussianConfig


def pooled(mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """The moments of all elements taken together, each repeated for every element, [*event].

    Arguments:
        mean: Mean of every element, [*event].
        variance: Its variance, [*event].
    """
    overall = mean.mean()
    spread = (variance + (mean - overall).square()).mean()
    return torch.full_like(mean, overall.item()), torch.full_like(variance, spread.item())


class GaussianPrior(Prior):
    """p*(s_K) = N(mu, diag v); mu and v are buffers and are not trained.

    Arguments:
        mean: mu, [*event], in model units.
        variance: v > 0, [*event], in squared model units.

    Raises:
        ValueError: The two shapes differ, or a variance is not above 0.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, mean: Tensor, variance: Tensor) -> None:
        super().__init__()
        if mean.shape != variance.shape:
            raise ValueError(f"mean {tuple(mean.shape)} and variance {tuple(variance.shape)} differ in shape")
        if not (variance > 0).all():
            raise ValueError("a Gaussian prior has variances above 0; fitted to an element that never varies, it needs a floor")
        self.register_buffer("mean", mean)
        self.register_buffer("variance", variance)

    @classmethod
    def matching(cls, mean: Tensor, variance: Tensor, *, floor: float = 1e-5, per_dimension: bool = True) -> GaussianPrior:
        """The prior with the moments of the data.

        Arguments:
            mean: Mean of every element over the data, [*event].
            variance: Its variance, [*event].
            floor: Added to every variance, 0 or more.
            per_dimension: Whether every element keeps its own moments; otherwise all share the mean
                and the variance of the pooled elements.
        """
        if not per_dimension:
            mean, variance = pooled(mean, variance)
        return cls(mean, variance + floor)

    @classmethod
    def fit(cls, examples: Tensor, *, floor: float = 1e-5, per_dimension: bool = True) -> GaussianPrior:
        """As :meth:`matching`, with the moments of ``examples``, [N, *event]."""
        wide = examples.double()
        mean, variance = wide.mean(0).to(examples.dtype), wide.var(0, correction=0).to(examples.dtype)
        return cls.matching(mean, variance, floor=floor, per_dimension=per_dimension)

    def forward(self, rows: int) -> Gaussian:
        return Gaussian(self.mean.expand(rows, *self.mean.shape), self.variance)


def build(config: GaussianConfig, context: Context) -> GaussianPrior:
    """The prior that a recipe describes."""
    data = context.data
    mean, variance = torch.zeros(data.shape), torch.ones(data.shape)
    if config.fit:
        mean, variance = (data.mean, data.variance) if config.per_dimension else pooled(data.mean, data.variance)
        variance = variance + config.floor
    if config.mean is not None:
        mean = torch.full(data.shape, config.mean)
    if config.variance is not None:
        variance = torch.full(data.shape, config.variance)
    return GaussianPrior(mean, variance)
