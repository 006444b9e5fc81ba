r"""A prior of independent elements with heavy tails: Student's t with n degrees of freedom.

.. math:: p^*(s_i) = \frac{\Gamma(\frac{n+1}{2})}{\Gamma(\frac n2) \sqrt{n \pi}\, c_i}
    \left(1 + \frac{(s_i - m_i)^2}{n c_i^2}\right)^{-\frac{n+1}{2}}

A draw is m + c z_0 / sqrt((z_1^2 + .. + z_n^2) / n) with standard normal z; its variance is c^2 n / (n - 2).
"""

from __future__ import annotations

import math

from torch import Tensor

from chainkit import Context, Prior
from chainkit.capabilities import Factorial, HasMean, Reparametrised
from chainkit.random import Source, normal
from chainkit_placeholder.configs import PriorConfig

FLOOR = 1e-4
"""Added to the variances, in squared model units, for elements that never vary."""


class Student(Factorial, Reparametrised, HasMean):
    """Independent elements.

    Arguments:
        mean: m, [B, *event], in model units.
        scale: c > 0, broadcastable to ``mean``, in model units.
        freedom: n, 3 or more.
    """

    def __init__(self, mean: Tensor, scale: Tensor, freedom: int) -> None:
        self._mean = mean
        self.scale = scale
        self.freedom = freedom

    @property
    def mean(self) -> Tensor:
        return self._mean

    def rsample(self, source: Source = None) -> Tensor:
        rows, *event = self._mean.shape
        draws = normal(self._mean.new_empty(rows, 1 + self.freedom, *event), source)
        return self._mean + self.scale * draws[:, 0] / draws[:, 1:].square().mean(1).sqrt()

    def sample(self, source: Source = None) -> Tensor:
        return self.rsample(source).detach()

    def log_prob_elementwise(self, value: Tensor) -> Tensor:
        n = self.freedom
        constant = math.lgamma((n + 1) / 2) - math.lgamma(n / 2) - 0.5 * math.log(n * math.pi)
        distance = (value - self._mean) / self.scale
        return constant - self.scale.log() - (n + 1) / 2 * (distance.square() / n).log1p()

    def log_prob(self, value: Tensor) -> Tensor:
        return self.log_prob_elementwise(value).flatten(1).sum(1)


class StudentPrior(Prior):
    """p*(s_K); its mean and scale are buffers and are not trained.

    Arguments:
        mean: m, [*event], in model units.
        variance: Variance of every element, above 0, [*event].
        freedom: n, 3 or more.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Tensor, variance: Tensor, freedom: int) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", (variance * (freedom - 2) / freedom).sqrt())
        self.freedom = freedom

    def forward(self, rows: int) -> Student:
        return Student(self.mean.expand(rows, *self.mean.shape), self.scale, self.freedom)


def build(config: PriorConfig, context: Context) -> StudentPrior:
    """The prior that a recipe describes, with the moments of the training data."""
    return StudentPrior(context.data.mean, context.data.variance + FLOOR, config.freedom)
