r"""The two ways of training on an infusion chain.

.. math::
    L_\text{denoising} &= -\sum_{k=1}^{K} \frac{K - k + 1}{K} \log p(x | s_k) \\
    L_\text{bound} &= -E_q[\log p(x, s_1..s_K) - \log q(s_1..s_K | x)]

(infusion paper, section 3.3.3.2 with note 3, and section 3.3.4.1 with eq. 3.3.3). The second one is
:class:`chainkit.objective.PathBound`: every step has s_{k-1} as its target instead of x, and the
gradient runs through the draws.
"""

from __future__ import annotations

from torch import Tensor

from chainkit import Context, Density, LocalObjective, Transition
from chainkit.objective import PathBound
from chainkit_infusion.configs import DenoisingConfig, LowerBoundConfig


class Denoising(LocalObjective):
    """``-(K - k + 1) / K log p(x | s_k)``: the operator tries to reach x in one step from every state.

    The states come from whatever process it is trained with. The weight, t / T in the paper, keeps
    the larger errors of the noisy states from dominating the parameters that all steps share.
    """

    def loss(self, transition: Transition) -> Tensor:
        """The loss of one step.

        Raises:
            TypeError: The operator gives no density.
        """
        if not isinstance(transition.reverse, Density):
            raise TypeError(f"denoising needs kernels with a density (Density), got {type(transition.reverse).__name__}")
        log_prob = transition.reverse.log_prob(transition.origin)
        return -log_prob * (transition.steps - transition.k + 1) / transition.steps


def denoising(config: DenoisingConfig, context: Context) -> Denoising:
    """The denoising objective."""
    return Denoising()


def lower_bound(config: LowerBoundConfig, context: Context) -> PathBound:
    """The bound, with its gradient through the walk."""
    return PathBound()
