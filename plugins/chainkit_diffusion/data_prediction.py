r"""The reverse of a Gaussian diffusion by way of the data point.

The mean of a reverse kernel may be that of the posterior at a predicted data point (Ho et al. 2020,
section 3.2, beside the prediction of the noise). Here the network gives that point, g, and h, by which
the variance departs from the posterior's:

.. math:: p(s_{k-1} | s_k) = N(\mu, \mathrm{diag}\, v), \qquad
    \mu = \frac{\sqrt{a_{k-1}}\, b_k}{1 - a_k}\, g(s_k, k) + \frac{\sqrt{1 - b_k}\, (1 - a_{k-1})}{1 - a_k}\, s_k, \qquad
    v = \mathrm{sigmoid}(h(s_k, k) + \mathrm{logit}\, r_k)

with r_k the variance of q(s_{k-1} | s_k, x), and b_1 at k = 1, where mu = g. The weights of g and s_k
are known, so that the network need not pass the state on to its heads: layers narrower than a state do,
and every step may remove all of its noise, which chains of few steps live from.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from chainkit import Context, Network, TransitionOperator
from chainkit.kernel import GaussianKernel
from chainkit_diffusion.configs import DataPredictionConfig
from chainkit_diffusion.gaussian import GaussianDiffusion
from chainkit_diffusion.steps import pick, wide


class DataPrediction(TransitionOperator):
    """A factorial Gaussian around the posterior mean at a predicted data point, its variance learned.

    Arguments:
        network: The network, with two heads: g, in model units, and h.
        process: The diffusion, shared with the training.
    """

    def __init__(self, network: Network, process: GaussianDiffusion) -> None:
        super().__init__()
        self.network = network
        self.process = process

    def forward(self, state: Tensor, k: int | Tensor, condition: Any = None) -> GaussianKernel:
        origin, tilt = (wide(head) for head in self.network(state, k, condition))
        table = self.process.table(state.device)
        mean = pick(table.from_origin, k, origin) * origin + pick(table.from_state, k, origin) * state
        return GaussianKernel(mean, (tilt + pick(table.reverse_logit, k, tilt)).sigmoid())

    def start_at(self, mean: Tensor) -> None:
        """Sets the bias of g to the mean of the data, [*event], so that training starts there."""
        self.network.bias_heads([mean, None])


def build(config: DataPredictionConfig, context: Context) -> DataPrediction:
    """The operator that a recipe describes."""
    operator = DataPrediction(context.build(config.network, heads=2), context.process)
    operator.start_at(context.data.mean)
    return operator
