r"""The learned reverse of a binomial diffusion (Sohl-Dickstein et al. 2015, table App. 1).

.. math:: \mathrm{logit}\, p(s_{k-1} = 1 | s_k) = \mathrm{logit}((1 - b_k) s_k + b_k r) + f(s_k, k)

The forward kernel flips a bit with a probability of the order of b_k; the network f says by which
odds the reverse one departs from it. At f = 0 both are the same.
"""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor

from chainkit import Context, Network, TransitionOperator
from chainkit.kernel import BernoulliKernel
from chainkit_diffusion.binomial import BinomialDiffusion
from chainkit_diffusion.configs import BernoulliReverseConfig
from chainkit_diffusion.steps import require_a_learned_step, silent_at_one, wide


class BernoulliReverse(TransitionOperator):
    """Independent bits, whose flips are learned around the forward kernel.

    Arguments:
        network: The network, with one head: f, in nats of log odds.
        process: The diffusion, shared with the training; gives b_k and r.
        first_step: What p(x | s_1) is: ``forward``, the forward kernel of b_1 as in the paper,
            whatever the network says; or ``learned`` like every other step.
    """

    def __init__(self, network: Network, process: BinomialDiffusion, *, first_step: Literal["forward", "learned"] = "forward") -> None:
        super().__init__()
        self.network = network
        self.process = process
        self.first_step = first_step

    def forward(self, state: Tensor, k: int | Tensor, condition: Any = None) -> BernoulliKernel:
        (head,) = self.network(state, k, condition)
        odds = wide(head)
        if self.first_step == "forward":
            odds = silent_at_one(odds, k)
        return BernoulliKernel(self.process.step(state, k).logits + odds)


def build(config: BernoulliReverseConfig, context: Context) -> BernoulliReverse:
    """The operator that a recipe describes."""
    require_a_learned_step(config.first_step, context.steps)
    return BernoulliReverse(context.build(config.network, heads=1), context.process, first_step=config.first_step)
