r"""A logistic transition.

.. math:: \log p(s_{k-1} | s_k) = \sum_i \left[-z_i - 2 \log(1 + e^{-z_i}) - \log b_i\right],
    \qquad z_i = (s_{k-1,i} - \mu_i) / b_i

with mu and b from a network that sees s_k and k. The variance of an element is (pi b)^2 / 3.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from chainkit import Context, Kernel, Network, TransitionOperator
from chainkit.capabilities import Factorial, HasMean, Reparametrised
from chainkit.kernel import divisor
from chainkit.random import Source, uniform
from chainkit_placeholder.configs import OperatorConfig


class Logistic(Factorial, Reparametrised, HasMean):
    """Independent logistic elements.

    Arguments:
        mean: mu, [B, *event], in model units.
        scale: b > 0, [B, *event], in model units.
    """

    def __init__(self, mean: Tensor, scale: Tensor) -> None:
        self._mean = mean
        self.scale = scale

    @property
    def mean(self) -> Tensor:
        return self._mean

    def rsample(self, source: Source = None) -> Tensor:
        # The logit of a uniform draw, which is kept off 0 and 1 so that it is finite.
        noise = torch.logit(uniform(self._mean, source), eps=torch.finfo(self._mean.dtype).eps)
        return self._mean + self.scale * noise

    def sample(self, source: Source = None) -> Tensor:
        return self.rsample(source).detach()

    def log_prob_elementwise(self, value: Tensor) -> Tensor:
        distance = (value - self._mean) / self.scale
        return -distance - 2 * softplus(-distance) - self.scale.log()

    def log_prob(self, value: Tensor) -> Tensor:
        return self.log_prob_elementwise(value).flatten(1).sum(1)


class LogisticKernel(Kernel):
    """A temperature T multiplies the variance, and so the scale by sqrt(T).

    Arguments:
        mean: mu, [B, *event].
        scale: b > 0 at temperature 1, [B, *event].
    """

    def __init__(self, mean: Tensor, scale: Tensor) -> None:
        self.mean = mean
        self.scale = scale

    def at(self, temperature: float | Tensor = 1.0) -> Logistic:
        return Logistic(self.mean, self.scale * divisor(temperature, self.mean) ** 0.5)


class LogisticOperator(TransitionOperator):
    """mu = F_mu(s_k), b = floor + softplus(F_b(s_k)).

    Arguments:
        network: F, with two heads.
        floor: The smallest scale, above 0, in model units.
    """

    def __init__(self, network: Network, floor: float) -> None:
        super().__init__()
        self.network = network
        self.floor = floor

    def forward(self, state: Tensor, k: int | Tensor, condition: Any = None) -> LogisticKernel:
        heads = self.network(state, k, condition)
        # The parameters of a distribution are float32 or wider, also under autocast.
        mean, spread = (head.to(torch.promote_types(head.dtype, torch.float32)) for head in heads)
        return LogisticKernel(mean, self.floor + softplus(spread))


def build(config: OperatorConfig, context: Context) -> LogisticOperator:
    """The operator that a recipe describes; it starts at the mean of the data."""
    network = context.build(config.network, heads=2)
    network.bias_heads([context.data.mean, torch.full_like(context.data.mean, -2.0)])
    return LogisticOperator(network, config.floor)
