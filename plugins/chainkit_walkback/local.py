r"""The local objective of Variational Walkback.

.. math:: \ell_k = -\log p_{T_k}(s_{k-1} | s_k), \qquad s_k \sim p_{T_k}(\cdot | s_{k-1})

(walkback paper, Algorithm 1). The walk is held fixed: no gradient passes through the draws or from
one step to another. The sum of the steps is thus not the bound of eq. 8, which also has -log q and
the prior; an operator that copies its input lowers this loss while it lowers the bound. Watch eq. 8,
and see :mod:`chainkit_walkback.bound` for its gradient.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from chainkit.capabilities import Density
from chainkit.objective import LocalObjective
from chainkit.transition import Transition

if TYPE_CHECKING:
    from chainkit.component import Context
    from chainkit_walkback.configs import WalkbackConfig


class Walkback(LocalObjective):
    """Teaches the operator, at every state of a walk, to step back to where the walk came from."""

    def loss(self, transition: Transition) -> Tensor:
        """-log p_{T_k}(s_{k-1} | s_k): [B], in nats.

        Arguments:
            transition: The step, with its ``previous`` state drawn.

        Raises:
            TypeError: The operator's kernels have no density.
        """
        if not isinstance(transition.reverse, Density):
            raise TypeError(f"walkback needs kernels with a density, not {type(transition.reverse).__name__}")
        return -transition.reverse.log_prob(transition.previous)


def build(config: WalkbackConfig, context: Context) -> Walkback:
    """The objective ``walkback``."""
    return Walkback()
