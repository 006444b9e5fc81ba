r"""An objective with two targets.

.. math:: L_k = -(1 - w) \log p(s_{k-1} | s_k) - w \log p(x | s_k)

The first term is the part of the variational bound that trains the operator, the second asks every
step for the data point at once.
"""

from __future__ import annotations

from torch import Tensor

from chainkit import Context, Density, LocalObjective, Transition
from chainkit_placeholder.configs import ObjectiveConfig


class Blend(LocalObjective):
    """A weighted mean of two losses; memory does not grow with the chain.

    Arguments:
        weight: w in [0, 1].
    """

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight

    def loss(self, transition: Transition) -> Tensor:
        """The loss of one step: [B], in nats.

        Raises:
            TypeError: The operator gives no density, or the walk has not drawn s_{k-1}.
        """
        reverse, previous = transition.reverse, transition.previous
        if not isinstance(reverse, Density) or previous is None:
            raise TypeError("this objective needs an operator with a density, and walks that draw every state")
        return -(1 - self.weight) * reverse.log_prob(previous) - self.weight * reverse.log_prob(transition.origin)


def build(config: ObjectiveConfig, context: Context) -> Blend:
    """The objective that a recipe describes."""
    return Blend(config.weight)
