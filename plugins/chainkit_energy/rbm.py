r"""Restricted Boltzmann machines, with binary or Gaussian visible units.

.. math::
    E(v, h) = -b^\top v - c^\top h - h^\top W v, \qquad
    E(v, h) = \sum_i \frac{(v_i - b_i)^2}{2 \sigma_i^2} - c^\top h - h^\top W (v / \sigma^2)

(Smolensky 1986; Hinton 2002; the Gaussian units as of Cho, Ilin and Raiko 2011). Visible units are
independent given the hidden ones: rates sigmoid(b + W'h), or N(b + W'h, sigma^2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, softplus

from chainkit.distributions import Bernoulli, Gaussian
from chainkit_energy.energy import Bipartite, wide

if TYPE_CHECKING:
    from chainkit.component import Context
    from chainkit_energy.configs import GaussianRBMConfig, RBMConfig

SPREAD = 0.01
"""Standard deviation of the first weights (Hinton 2010, section 8)."""
RATES = (0.01, 0.99)


class RBM(Bipartite):
    """The machine with binary visible units; states are zeros and ones, kept as floats.

    Arguments:
        shape: Shape of the visible units, [*event], D elements in all.
        hidden: H, the number of hidden units, 1 or more.

    Attributes:
        weight: W, [H, D].
        visible_bias: b, [D]; :meth:`start_at` sets it to the data's.
        hidden_bias: c, [H].

    Raises:
        ValueError: No hidden unit.
    """

    def __init__(self, shape: Sequence[int], hidden: int) -> None:
        super().__init__()
        if hidden < 1:
            raise ValueError(f"a machine has at least one hidden unit, not {hidden}")
        self.shape = tuple(shape)
        self.weight = nn.Parameter(SPREAD * torch.randn(hidden, math.prod(shape)))
        self.visible_bias = nn.Parameter(torch.zeros(math.prod(shape)))
        self.hidden_bias = nn.Parameter(torch.zeros(hidden))

    @property
    def hidden_units(self) -> int:
        return len(self.hidden_bias)

    def bare(self, visible: Tensor) -> Tensor:
        return -(visible.flatten(1) * self.visible_bias).sum(1)

    def hidden(self, visible: Tensor) -> Bernoulli:
        return Bernoulli(wide(linear(visible.flatten(1), self.weight, self.hidden_bias)))

    def visible(self, hidden: Tensor) -> Bernoulli:
        return Bernoulli(self._field(hidden).unflatten(1, self.shape))

    def log_hidden_marginal(self, hidden: Tensor) -> Tensor:
        return hidden @ self.hidden_bias + softplus(self._field(hidden)).sum(1)

    def _field(self, hidden: Tensor) -> Tensor:
        return wide(linear(hidden, self.weight.T, self.visible_bias))

    def start_at(self, mean: Tensor) -> None:
        """Sets b so that without weights the visible units have the data's rates.

        Arguments:
            mean: Rate of ones, [*event]; clamped to [0.01, 0.99].
        """
        with torch.no_grad():
            self.visible_bias.copy_(mean.clamp(*RATES).logit().flatten())


class GaussianRBM(Bipartite):
    """The machine with Gaussian visible units, whose variances are learned.

    Arguments:
        mean: First values of b, [*event], in model units.
        variance: First values of sigma^2, [*event], above 0, in squared model units.
        hidden: H, the number of hidden units, 1 or more.

    Attributes:
        weight: W, [H, D], in model units.
        visible_bias: b, [D].
        log_variance: log sigma^2, [D].
        hidden_bias: c, [H].

    Raises:
        ValueError: No hidden unit, or a variance that is not above 0.
    """

    def __init__(self, mean: Tensor, variance: Tensor, hidden: int) -> None:
        super().__init__()
        if hidden < 1 or not (variance > 0).all():
            raise ValueError(f"a machine has at least one hidden unit and variances above 0, got {hidden} and {variance.min():g}")
        self.shape = tuple(mean.shape)
        self.weight = nn.Parameter(SPREAD * torch.randn(hidden, mean.numel()))
        self.visible_bias = nn.Parameter(mean.flatten().clone())
        self.log_variance = nn.Parameter(variance.flatten().log())
        self.hidden_bias = nn.Parameter(torch.zeros(hidden))

    @property
    def hidden_units(self) -> int:
        return len(self.hidden_bias)

    def bare(self, visible: Tensor) -> Tensor:
        return 0.5 * ((visible.flatten(1) - self.visible_bias).square() / self.log_variance.exp()).sum(1)

    def hidden(self, visible: Tensor) -> Bernoulli:
        return Bernoulli(wide(linear(visible.flatten(1) / self.log_variance.exp(), self.weight, self.hidden_bias)))

    def visible(self, hidden: Tensor) -> Gaussian:
        mean = self._centre(hidden).unflatten(1, self.shape)
        return Gaussian(mean, self.log_variance.exp().view(self.shape).expand_as(mean))

    def log_hidden_marginal(self, hidden: Tensor) -> Tensor:
        grown = (self._centre(hidden).square() - self.visible_bias.square()) / self.log_variance.exp()
        return hidden @ self.hidden_bias + 0.5 * (grown + self.log_variance + math.log(2 * math.pi)).sum(1)

    def _centre(self, hidden: Tensor) -> Tensor:
        return wide(linear(hidden, self.weight.T, self.visible_bias))


def build(config: RBMConfig, context: Context) -> RBM:
    """The energy ``rbm``."""
    energy = RBM(context.data.shape, config.hidden)
    energy.start_at(context.data.mean)
    return energy


def build_gaussian(config: GaussianRBMConfig, context: Context) -> GaussianRBM:
    """The energy ``rbm-gaussian``."""
    data = context.data
    return GaussianRBM(data.mean, config.share * (data.variance + config.floor), config.hidden)
