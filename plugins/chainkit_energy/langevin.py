r"""Langevin sampling without Metropolis correction.

.. math:: p_T(s_{k-1} | s_k) = N\left(s_k - \tfrac{\sigma^2}{2} \nabla E(s_k),\; T \sigma^2\right)

A step downhill in energy, and noise. Small steps lead to exp(-E(s) / T), with an error of order
sigma^2. The kernel is a Gaussian with the noise of Algorithm 1 of the walkback paper, so that
walkback trains it: its mean has a gradient to the parameters of E.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from chainkit.kernel import GaussianKernel
from chainkit_energy.energy import Energy
from chainkit_energy.operator import EnergyOperator

if TYPE_CHECKING:
    from chainkit.component import Context
    from chainkit_energy.configs import LangevinConfig


class Langevin(EnergyOperator):
    """Heating is pure: the noise grows with T, and nothing leads to the prior.

    Arguments:
        energy: E.
        noise: sigma, the standard deviation of the noise at T = 1, in model units, above 0.

    Raises:
        ValueError: ``noise`` is not above 0.
    """

    def __init__(self, energy: Energy, noise: float) -> None:
        super().__init__(energy)
        if noise <= 0:
            raise ValueError(f"the noise of a Langevin step is above 0, not {noise}")
        self.noise = noise

    def forward(self, state: Tensor, k: int | Tensor, condition: Any = None) -> GaussianKernel:
        variance = self.noise**2
        mean = state - 0.5 * variance * self.energy.gradient(state, condition)
        return GaussianKernel(mean, torch.full_like(mean, variance, requires_grad=False))


def build(config: LangevinConfig, context: Context) -> Langevin:
    """The operator ``langevin``."""
    return Langevin(context.build(config.energy), config.noise)
