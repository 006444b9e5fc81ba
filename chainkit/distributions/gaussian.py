r"""The diagonal Gaussian.

.. math:: \log N(s; \mu, v) = -\tfrac12 \sum_i \left[ (s_i - \mu_i)^2 / v_i + \log v_i + \log 2\pi \right]
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from chainkit.capabilities import Factorial, HasMean, Mixable, Reparametrised
from chainkit.random import Source, chance, normal
from chainkit.states import per_row

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
        noise = normal(mean, source)
        return torch.addcmul(mean, noise, self.variance.detach().sqrt(), out=noise)

    def mixed(self, other: Factorial, rate: float, source: Source = None) -> Gaussian | None:
        if not isinstance(other, Gaussian):
            return None
        where = chance(self._mean, rate, source)
        return Gaussian(torch.where(where, other.mean, self._mean), torch.where(where, other.variance, self.variance))

    def log_prob_elementwise(self, value: Tensor) -> Tensor:
        return _GaussianLogDensity.apply(value, self._mean, self.variance, False)

    def log_prob(self, value: Tensor) -> Tensor:
        if type(self).log_prob_elementwise is not Gaussian.log_prob_elementwise:  # the elements of a derived class
            return self.log_prob_elementwise(value).flatten(1).sum(1)
        return _GaussianLogDensity.apply(value, self._mean, self.variance, True)


class _GaussianLogDensity(torch.autograd.Function):
    r"""The log density of every element, or summed over the elements of a row; its gradient is taken in closed form.

    .. math:: z = \frac{s - \mu}{v}, \qquad \frac{\partial \log N}{\partial \mu} = -\frac{\partial \log N}{\partial s} = z, \qquad
        \frac{\partial \log N}{\partial v} = \frac{z^2 - 1 / v}{2}

    The rules of the single operations pass over memory more than twice as often.
    """

    @staticmethod
    def forward(ctx: Any, value: Tensor, mean: Tensor, variance: Tensor, summed: bool) -> Tensor:
        difference = value - mean
        scaled = difference / variance
        ctx.save_for_backward(value, mean, variance, scaled)
        doubled = torch.addcmul(variance.log(), difference, scaled)
        if not summed:
            return doubled.add_(LOG_2PI).mul_(-0.5)
        elements = doubled.flatten(1)
        return elements.sum(1).add_(elements.shape[1] * LOG_2PI).mul_(-0.5)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        value, mean, variance, scaled = ctx.saved_tensors
        if torch.is_grad_enabled():  # to be differentiated again: z as a function of what it comes from
            scaled = (value - mean) / variance
        if gradient.dim() < scaled.dim():
            gradient = per_row(gradient, scaled)
        of_value, of_mean, of_variance, _ = ctx.needs_input_grad
        through = scaled * gradient if of_value or of_mean else None
        return (
            -through.sum_to_size(value.shape) if through is not None and of_value else None,
            through.sum_to_size(mean.shape) if through is not None and of_mean else None,
            _of_variance(scaled, variance, gradient).sum_to_size(variance.shape) if of_variance else None,
            None,
        )


def _of_variance(scaled: Tensor, variance: Tensor, gradient: Tensor) -> Tensor:
    return torch.addcmul(variance.reciprocal(), scaled, scaled, value=-1).mul_(gradient * -0.5)
