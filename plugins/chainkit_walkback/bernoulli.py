r"""The Bernoulli operator of Variational Walkback.

.. math:: p_T(s_{k-1} = 1 | s_k) = \mathrm{sigmoid}\left(\frac{(1 - \alpha) s_k + \alpha F(s_k)}{T}\right)

(walkback paper, eq. 11), independently for each element.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from chainkit.kernel import BernoulliKernel
from chainkit.network import Network
from chainkit_walkback.conservative import ConservativeOperator

if TYPE_CHECKING:
    from chainkit.component import Context
    from chainkit_walkback.configs import BernoulliConfig

RATES = (0.01, 0.99)


class WalkbackBernoulli(ConservativeOperator):
    """Eq. 11 of the walkback paper; states are zeros and ones, kept as floats.

    Arguments:
        network: F, with one head.
        alpha: The weight of F, in (0, 1].
        straight_through: Whether draws pass a gradient on, biased but of low variance
            (:class:`~chainkit.distributions.StraightThrough`), instead of leaving it to the score function.

    Raises:
        ValueError: ``alpha`` outside (0, 1].
    """

    def __init__(self, network: Network, alpha: float = 0.5, straight_through: bool = False) -> None:
        super().__init__(network, alpha)
        self.straight_through = straight_through

    def forward(self, state: Tensor, k: int | Tensor, condition: Any = None) -> BernoulliKernel:
        (proposal,) = self.network(state, k, condition)
        return BernoulliKernel(self.average(state, proposal), self.straight_through)

    def start_at(self, mean: Tensor) -> None:
        """Sets the bias of F so that the logits at T = 1 are those of the data, averaged over the data.

        Arguments:
            mean: Rate of ones, [*event]; clamped to [0.01, 0.99].
        """
        rate = mean.clamp(*RATES)
        self.network.bias_heads([(rate.logit() - (1 - self.alpha) * rate) / self.alpha])


def build(config: BernoulliConfig, context: Context) -> WalkbackBernoulli:
    """The operator ``walkback-bernoulli``."""
    operator = WalkbackBernoulli(context.build(config.network, heads=1), config.alpha, config.gradient == "straight-through")
    operator.start_at(context.data.mean)
    return operator
