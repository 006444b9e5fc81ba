r"""A mixture per element: mostly one distribution, now and then another.

.. math:: q_i(s_i) = (1 - a)\, p_i(s_i) + a\, \delta_i(s_i)

(infusion paper, section 3.3.3.1). With probability a, each element on its own is drawn from
``target`` instead of ``base``; the log density is that of the mixture, not of the draw that
happened to be made.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from chainkit.capabilities import Factorial, Mixable, Reparametrised
from chainkit.random import Source, chance


class Infused(Factorial, Reparametrised):
    """An elementwise mixture of two factorial distributions.

    Arguments:
        base: p, the distribution kept with probability 1 - rate.
        target: delta, the distribution infused with probability rate.
        rate: a, in [0, 1], the same for all elements.
    """

    def __init__(self, base: Factorial, target: Factorial, rate: float) -> None:
        self.base = base
        self.target = target
        self.rate = rate

    def sample(self, source: Source = None) -> Tensor:
        if (chosen := self._chosen(source)) is not None:
            return chosen.sample(source)
        base = self.base.sample(source)
        return torch.where(chance(base, self.rate, source), self.target.sample(source), base)

    def rsample(self, source: Source = None) -> Tensor:
        """As ``sample``; the choice of component has no gradient, since its probability is fixed."""
        if not (isinstance(self.base, Reparametrised) and isinstance(self.target, Reparametrised)):
            raise TypeError(f"{type(self.base).__name__} cannot be drawn with its gradient")
        if isinstance(chosen := self._chosen(source), Reparametrised):
            return chosen.rsample(source)
        base = self.base.rsample(source)
        return torch.where(chance(base, self.rate, source), self.target.rsample(source), base)

    def _chosen(self, source: Source) -> Factorial | None:
        """The distribution that each element turned out to be of, to be drawn from once; None where the two are of different families."""
        if self.rate == 0:
            return self.base
        return self.base.mixed(self.target, self.rate, source) if isinstance(self.base, Mixable) else None

    def log_prob_elementwise(self, value: Tensor) -> Tensor:
        base = self.base.log_prob_elementwise(value)
        if self.rate == 0:
            return base
        target = self.target.log_prob_elementwise(value)
        if self.rate == 1:
            return target
        return torch.logaddexp(base + math.log1p(-self.rate), target + math.log(self.rate))

    def log_prob(self, value: Tensor) -> Tensor:
        return self.log_prob_elementwise(value).flatten(1).sum(1)

    def log_base_ratio(self, value: Tensor) -> Tensor:
        r"""``log p(value) - log q(value)`` of each row, [B], in nats.

        .. math:: -\sum_i \log\left[(1 - a) + a\, \delta_i(s_i) / p_i(s_i)\right]

        One evaluation of either density, where the difference of two log densities takes three and
        cancels: exactly 0 at rate 0.

        Arguments:
            value: s, [B, *event].
        """
        if self.rate == 0:
            return value.new_zeros(len(value))
        odds = self.target.log_prob_elementwise(value) - self.base.log_prob_elementwise(value)
        if self.rate == 1:
            return -odds.flatten(1).sum(1)
        gain = torch.logaddexp(odds + math.log(self.rate), odds.new_full((), math.log1p(-self.rate)))
        return -gain.flatten(1).sum(1)
