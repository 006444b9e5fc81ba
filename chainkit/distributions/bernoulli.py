r"""Independent bits.

.. math:: \log p(s) = \sum_i s_i l_i - \log(1 + e^{l_i}), \qquad p(s_i = 1) = \mathrm{sigmoid}(l_i)
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import softplus

from chainkit.capabilities import Factorial, HasMean
from chainkit.random import Source, uniform


class Bernoulli(Factorial, HasMean):
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

    def log_prob_elementwise(self, value: Tensor) -> Tensor:
        return value * self.logits - softplus(self.logits)

    def log_prob(self, value: Tensor) -> Tensor:
        return self.log_prob_elementwise(value).flatten(1).sum(1)
