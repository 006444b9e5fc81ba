r"""Independent bits.

.. math:: \log p(s) = \sum_i s_i l_i - \log(1 + e^{l_i}), \qquad p(s_i = 1) = \mathrm{sigmoid}(l_i)
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from chainkit.capabilities import Factorial, HasMean, Mixable, Reparametrised
from chainkit.random import Source, chance, uniform

EXACT = 40.0
"""Above it log(1 + e^l) is l to the last digit of float64; torch stops at 20, where float64 still sees e^-l."""


class Bernoulli(Mixable, HasMean):
    """A vector of independent bits, kept as floats 0 and 1.

    Arguments:
        logits: l = log p / (1 - p), [B, *event], any real number.
    """

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits

    @property
    def mean(self) -> Tensor:
        return self.logits.sigmoid()

    def sample(self, source: Source = None) -> Tensor:
        rate = self.logits.detach().sigmoid()
        return (uniform(rate, source) < rate).to(rate.dtype)

    def mixed(self, other: Factorial, rate: float, source: Source = None) -> Bernoulli | None:
        if not isinstance(other, Bernoulli):
            return None
        return type(self)(torch.where(chance(self.logits, rate, source), other.logits, self.logits))

    def log_prob_elementwise(self, value: Tensor) -> Tensor:
        return value * self.logits - softplus(self.logits, threshold=EXACT)

    def log_prob(self, value: Tensor) -> Tensor:
        return self.log_prob_elementwise(value).flatten(1).sum(1)


class StraightThrough(Bernoulli, Reparametrised):
    r"""Independent bits whose draws pass the gradient on to their rate as if they were it.

    .. math:: \frac{\partial s_i}{\partial l_i} := \frac{\partial}{\partial l_i} \mathrm{sigmoid}(l_i)

    (Bengio, Leonard and Courville 2013, section 4). The gradient of E[f(s)] is exact where f is
    linear in each bit given the others, as the entropy -E[log p(s)] is; elsewhere it is biased, to
    first order in how far f bends between 0 and 1, and has far less variance than the score function's.

    Arguments:
        logits: l = log p / (1 - p), [B, *event], any real number.
    """

    def rsample(self, source: Source = None) -> Tensor:
        rate = self.mean
        return self.sample(source) + (rate - rate.detach())
