r"""The isotropic Gaussian operator.

.. math:: p(s_{k-1} | s_k) = N(\mu(s_k), \sigma^2 I), \qquad \mu = \mathrm{sigmoid}(F_\mu)

One variance for all elements and steps, fixed or learned: the output model with which the infusion
paper compares itself to generators evaluated by annealed importance sampling (table 3.1).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from chainkit import Context, Network, TransitionOperator
from chainkit.kernel import GaussianKernel
from chainkit_infusion.configs import InfusionIsotropicConfig
from chainkit_infusion.heads import link, require_reach, widened


class InfusionIsotropic(TransitionOperator):
    """N(mu, sigma^2 I) with sigma^2 = floor + exp(rho); rho is a parameter where the variance is learned.

    Arguments:
        network: F_mu, with one head [B, *event].
        mean: ``sigmoid``, or ``linear`` for mu = F_mu where the data is not on [0, 1].
        variance: sigma^2 > 0, fixed or at the start, in squared model units.
        learned: Whether it is trained.
        variance_floor: The smallest variance that training can reach, 0 or more and below
            ``variance``, in squared model units; a fixed variance has none.

    Raises:
        ValueError: An unknown ``mean``, or a variance that is not above 0 or its floor.
    """

    rho: Tensor

    def __init__(
        self, network: Network, *, mean: str = "sigmoid", variance: float = 0.01, learned: bool = False, variance_floor: float = 1e-4
    ) -> None:
        super().__init__()
        floor = variance_floor if learned else 0.0
        if not variance > floor >= 0:
            raise ValueError(f"the variance {variance:g} must be above its floor {floor:g}, and that 0 or more")
        self.network = network
        self.link = link(mean)
        self.variance_floor = floor
        rho = torch.tensor(math.log(variance - floor))
        if learned:
            self.rho = nn.Parameter(rho)
        else:
            self.register_buffer("rho", rho)

    @property
    def variance(self) -> Tensor:
        """sigma^2, a scalar, in squared model units."""
        return self.variance_floor + self.rho.exp()

    def forward(self, state: Tensor, k: int | Tensor, condition: Any = None) -> GaussianKernel:
        (mean,) = map(widened, self.network(state, k, condition))
        return GaussianKernel(self.link.mean(mean), self.variance)

    def start_at(self, mean: Tensor) -> None:
        """Sets the bias of the head so that training starts near the mean of the data, [*event]."""
        self.network.bias_heads([self.link.bias(mean)])


def build(config: InfusionIsotropicConfig, context: Context) -> InfusionIsotropic:
    """The operator that a recipe describes, started at the mean of the training data."""
    require_reach(config.mean, context.data)
    operator = InfusionIsotropic(
        context.build(config.network, heads=1),
        mean=config.mean,
        variance=config.variance,
        learned=config.learned,
        variance_floor=config.variance_floor,
    )
    operator.start_at(context.data.mean)
    return operator
