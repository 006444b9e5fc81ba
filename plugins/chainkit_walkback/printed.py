r"""The Gaussian operator of Variational Walkback as the paper prints it.

.. math::
    \mu = (1 - \alpha) s_k + \alpha F_\mu(s_k), \qquad
    \sigma_T = \mathrm{sigmoid}(T\, \mathrm{softplus}(F_\sigma(s_k)))

(walkback paper, eqs. 12-13). Since T softplus(.) is positive, sigma_T lies in [0.5, 1) at every
temperature: log p(x | s_1) is at most -0.226 nats per element, and the noise neither vanishes near
the data nor grows beyond 1. Kept for comparison; :mod:`chainkit_walkback.gaussian` is the free form.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.nn.functional import softplus

from chainkit.distributions import Gaussian
from chainkit.kernel import Kernel, divisor
from chainkit_walkback.conservative import ConservativeOperator, wide

if TYPE_CHECKING:
    from chainkit.component import Context
    from chainkit_walkback.configs import PrintedGaussianConfig


class PrintedGaussianKernel(Kernel):
    """N(mu, sigmoid(T h)^2) (walkback paper, eq. 13).

    Arguments:
        mean: mu, [B, *event], in model units.
        spread: h = softplus(F_sigma) > 0, broadcastable to ``mean``.
    """

    def __init__(self, mean: Tensor, spread: Tensor) -> None:
        self.mean = mean
        self.spread = spread

    def at(self, temperature: float | Tensor = 1.0) -> Gaussian:
        return Gaussian(self.mean, (divisor(temperature, self.mean) * self.spread).sigmoid().square())


class PrintedGaussian(ConservativeOperator):
    """Eqs. 12-13 of the walkback paper as printed.

    Arguments:
        network: (F_mu, F_sigma), two heads.
        alpha: The weight of F_mu, in (0, 1].

    Raises:
        ValueError: ``alpha`` outside (0, 1].
    """

    def forward(self, state: Tensor, k: int | Tensor, condition: Any = None) -> PrintedGaussianKernel:
        proposal, scale = self.network(state, k, condition)
        return PrintedGaussianKernel(self.average(state, proposal), softplus(wide(scale)))

    def start_at(self, mean: Tensor) -> None:
        """Sets the bias of F_mu to the mean of the data; F_sigma is left as it is."""
        self.network.bias_heads([mean, None])


def build(config: PrintedGaussianConfig, context: Context) -> PrintedGaussian:
    """The operator ``walkback-gaussian-printed``."""
    operator = PrintedGaussian(context.build(config.network, heads=2), config.alpha)
    operator.start_at(context.data.mean)
    return operator
