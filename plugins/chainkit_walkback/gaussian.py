r"""The Gaussian operator of Variational Walkback, its scale free at every temperature.

.. math::
    \mu = (1 - \alpha) s_k + \alpha F_\mu(s_k), \qquad
    \sigma_T^2 = T \left( \sigma_{min}^2 + \sigma_0^2\, \mathrm{softplus}(F_\sigma(s_k))^2 \right)

The mean is eq. 12 of the walkback paper. The printed scale, eq. 13, lies in [0.5, 1) for every T
(:mod:`chainkit_walkback.printed`), too wide for data on [0, 1]; this one is
:math:`\sigma_0\, \mathrm{softplus}(F_\sigma) \sqrt{T}`, so that a step injects noise of variance
T sigma^2 as Algorithm 1 has it, with a floor that keeps the density finite on constant elements.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from chainkit.kernel import GaussianKernel
from chainkit.network import Network
from chainkit_walkback.conservative import ConservativeOperator, wide

if TYPE_CHECKING:
    from chainkit.component import Context
    from chainkit_walkback.configs import GaussianConfig

UNIT_SOFTPLUS = math.log(math.e - 1)
"""Where softplus is 1."""


class WalkbackGaussian(ConservativeOperator):
    """Mean of eq. 12, variance proportional to the temperature.

    Arguments:
        network: (F_mu, F_sigma), two heads.
        alpha: The weight of F_mu, in (0, 1].
        sigma0: sigma_0, the standard deviation at T = 1 where softplus(F_sigma) = 1, in model
            units, above 0.
        sigma_min: sigma_min, the smallest standard deviation at T = 1, in model units, 0 or more.

    Raises:
        ValueError: An argument outside its range.
    """

    def __init__(self, network: Network, alpha: float = 0.5, sigma0: float = 0.1, sigma_min: float = 1e-3) -> None:
        super().__init__(network, alpha)
        if sigma0 <= 0 or sigma_min < 0:
            raise ValueError(f"sigma0 is above 0 and sigma_min not below, got {sigma0} and {sigma_min}")
        self.sigma0 = sigma0
        self.sigma_min = sigma_min

    def forward(self, state: Tensor, k: int | Tensor, condition: Any = None) -> GaussianKernel:
        proposal, scale = self.network(state, k, condition)
        variance = self.sigma_min**2 + (self.sigma0 * softplus(wide(scale))).square()
        return GaussianKernel(self.average(state, proposal), variance)

    def start_at(self, mean: Tensor) -> None:
        """Sets the bias of F_mu to the mean of the data and that of F_sigma where softplus is 1."""
        self.network.bias_heads([mean, torch.full_like(mean, UNIT_SOFTPLUS)])


def build(config: GaussianConfig, context: Context) -> WalkbackGaussian:
    """The operator ``walkback-gaussian``."""
    operator = WalkbackGaussian(context.build(config.network, heads=2), config.alpha, config.sigma0, config.sigma_min)
    operator.start_at(context.data.mean)
    return operator
