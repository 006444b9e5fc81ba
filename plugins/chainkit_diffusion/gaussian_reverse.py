r"""The learned reverse of a Gaussian diffusion (Sohl-Dickstein et al. 2015, table App. 1).

.. math:: p(s_{k-1} | s_k) = N(\mu, \mathrm{diag}\, v), \qquad
    v = \mathrm{sigmoid}(h + \mathrm{logit}\, b_k), \qquad
    \mu = \sqrt{1 - v}\, s_k + (1 - \sqrt{1 - v})\, g

The network gives g, towards which the state decays, and h, by which the variance departs from that
of the forward kernel. Around h = g = 0 this is the forward kernel itself, so that an untrained
operator is near the identity wherever b_k is small, and g stays of the size of the data for every K.

The released code of that paper shifts the mean of the forward kernel instead,

.. math:: \mu = \sqrt{1 - b_k}\, s_k + \sqrt{b_k}\, g

so that the mean does not depend on the variance, and a g that is all but constant around s_k can
move it by any amount.
"""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor
from torch.nn.functional import logsigmoid

from chainkit import Context, Network, TransitionOperator
from chainkit.kernel import GaussianKernel
from chainkit_diffusion.configs import GaussianReverseConfig
from chainkit_diffusion.gaussian import GaussianDiffusion
from chainkit_diffusion.steps import pick, require_a_learned_step, silent_at_one, wide


class GaussianReverse(TransitionOperator):
    """A factorial Gaussian with a mean head and a variance head around the forward kernel.

    Arguments:
        network: The network, with two heads: g and h.
        process: The diffusion, shared with the training; gives b_k.
        mean: What g does to s_k: ``decay`` towards g, or a ``shift`` by sqrt(b_k) g.
        first_step: What p(x | s_1) is: ``forward``, the forward kernel N(sqrt(1 - b_1) s_1, b_1 I)
            as in the paper, whatever the network says; or ``learned`` like every other step.
    """

    def __init__(
        self,
        network: Network,
        process: GaussianDiffusion,
        *,
        mean: Literal["decay", "shift"] = "decay",
        first_step: Literal["forward", "learned"] = "forward",
    ) -> None:
        super().__init__()
        self.network = network
        self.process = process
        self.mean = mean
        self.first_step = first_step

    def forward(self, state: Tensor, k: int | Tensor, condition: Any = None) -> GaussianKernel:
        goal, tilt = (wide(head) for head in self.network(state, k, condition))
        if self.first_step == "forward":
            goal, tilt = silent_at_one(goal, k), silent_at_one(tilt, k)
        table = self.process.table(state.device)
        log_odds = tilt + pick(table.logit, k, tilt)
        variance = log_odds.sigmoid()
        if self.mean == "shift":
            return GaussianKernel(pick(table.decay, k, goal) * state + pick(table.variance, k, goal).sqrt() * goal, variance)
        # sqrt(1 - v) and 1 - sqrt(1 - v) without cancellation, and with a gradient at b_k = 1.
        decay = (0.5 * logsigmoid(-log_odds)).exp()
        return GaussianKernel(decay * state + variance / (1 + decay) * goal, variance)


def build(config: GaussianReverseConfig, context: Context) -> GaussianReverse:
    """The operator that a recipe describes."""
    require_a_learned_step(config.first_step, context.steps)
    return GaussianReverse(context.build(config.network, heads=2), context.process, mean=config.mean, first_step=config.first_step)
