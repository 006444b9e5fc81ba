r"""The factorial Gaussian operator.

.. math:: p(s_{k-1} | s_k) = \prod_i N(\mu_i(s_k), \sigma_i^2(s_k)), \qquad
    \mu = \mathrm{sigmoid}(F_\mu), \quad \sigma^2 = \beta\, \mathrm{sigmoid}(F_{\sigma^2}) + \epsilon

(infusion paper, section 3.5, beta = 0.1 and epsilon = 1e-4).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from chainkit import Context, Network, TransitionOperator
from chainkit.kernel import GaussianKernel
from chainkit.states import per_row
from chainkit_infusion.configs import InfusionGaussianConfig
from chainkit_infusion.heads import link, logit, require_reach, widened


class InfusionGaussian(TransitionOperator):
    """N(mu, diag sigma^2), both from one network.

    Arguments:
        network: F, with two heads [B, *event].
        mean: ``sigmoid``, or ``linear`` for mu = F_mu where the data is not on [0, 1].
        variance_scale: beta > 0, in squared model units.
        variance_floor: epsilon, 0 or more, in squared model units.
        output_variance: If given, the variance of every element of p(x | s_1), above 0, in squared
            model units, in place of the head's (isotropic output, table 3.1).

    Raises:
        ValueError: An unknown ``mean``.
    """

    def __init__(
        self,
        network: Network,
        *,
        mean: str = "sigmoid",
        variance_scale: float = 0.1,
        variance_floor: float = 1e-4,
        output_variance: float | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.link = link(mean)
        self.variance_scale = variance_scale
        self.variance_floor = variance_floor
        self._floor = torch.tensor(variance_floor, dtype=torch.float64)
        self.output_variance = output_variance

    def forward(self, state: Tensor, k: int | Tensor, condition: Any = None) -> GaussianKernel:
        mean, variance = map(widened, self.network(state, k, condition))
        return GaussianKernel(self.link.mean(mean), self._at_output(self._variance(variance), k))

    def start_at(self, mean: Tensor, variance: Tensor) -> None:
        """Sets the biases of the heads so that training starts near the moments of the data.

        Arguments:
            mean: Mean of every element over the data, [*event].
            variance: Its variance, [*event].
        """
        share = (variance - self.variance_floor) / self.variance_scale
        self.network.bias_heads([self.link.bias(mean), logit(share)])

    def _variance(self, head: Tensor) -> Tensor:
        return torch.add(self._floor, head.sigmoid(), alpha=self.variance_scale)  # one pass over memory

    def _at_output(self, variance: Tensor, k: int | Tensor) -> Tensor:
        if self.output_variance is None:
            return variance
        if isinstance(k, Tensor):
            return torch.where(per_row(k, variance) == 1, self.output_variance, variance)
        return torch.full_like(variance, self.output_variance) if k == 1 else variance


def build(config: InfusionGaussianConfig, context: Context) -> InfusionGaussian:
    """The operator that a recipe describes, started at the moments of the training data."""
    require_reach(config.mean, context.data)
    operator = InfusionGaussian(
        context.build(config.network, heads=2),
        mean=config.mean,
        variance_scale=config.variance_scale,
        variance_floor=config.variance_floor,
        output_variance=config.output_variance,
    )
    operator.start_at(context.data.mean, context.data.variance)
    return operator
