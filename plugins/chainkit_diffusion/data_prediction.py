r"""The reverse of a Gaussian diffusion by way of the data point.

Were the elements of the data independent and Gaussian with mean m and variance u, the data point would be known from
s_k up to

.. math:: x | s_k \sim N(l, \rho), \qquad
    l = m + \frac{\sqrt{a_k}\, u}{a_k u + 1 - a_k} (s_k - \sqrt{a_k}\, m), \qquad \rho = \frac{u (1 - a_k)}{a_k u + 1 - a_k}

and the network says where it is from there: the mean is predicted to be l + g \sqrt{\rho} and the variance \rho h.
This is the preconditioning of Karras et al. 2022 (eq. 7), with moments of every element in place of sigma_data.
Averaged over that prediction, the posterior q(s_{k-1} | s_k, x) = N(o x + c s_k, r) is

.. math:: p(s_{k-1} | s_k) = N(o (l + g \sqrt{\rho}) + c s_k,\; r + o^2 \rho h)

An untrained network, g = 0 and h = 1, gives the exact reverse for independent Gaussian elements, whatever
the number of steps. It need pass the state on nowhere, so that layers narrower than a state do.
"""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor
from torch.nn.functional import softplus

from chainkit import Context, Network, TransitionOperator
from chainkit.kernel import GaussianKernel
from chainkit_diffusion.configs import DataPredictionConfig
from chainkit_diffusion.gaussian import GaussianDiffusion
from chainkit_diffusion.steps import pick, wide

UNIT_SOFTPLUS = math.log(math.e - 1)
"""Where softplus is 1."""


class DataPrediction(TransitionOperator):
    """A factorial Gaussian, from the mean and the variance of the data point that the network predicts.

    Arguments:
        network: The network, with two heads: g, and h before a softplus that is 1 at 0.
        process: The diffusion, shared with the training.
        mean: m, the mean of every element of the data, [*event], in model units.
        variance: u > 0, its variance, [*event], in squared model units.

    Raises:
        ValueError: A variance that is not above 0.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, network: Network, process: GaussianDiffusion, mean: Tensor, variance: Tensor) -> None:
        super().__init__()
        if not bool((variance > 0).all()):
            raise ValueError(f"the variance of an element is above 0, not {variance.min():g}")
        self.network = network
        self.process = process
        self.register_buffer("mean", mean.clone())
        self.register_buffer("spread", variance.clone())

    def forward(self, state: Tensor, k: int | Tensor, condition: Any = None) -> GaussianKernel:
        shift, scale = (wide(head) for head in self.network(state, k, condition))
        table = self.process.table(state.device)
        signal, noise, share = (pick(column, k, shift) for column in (table.signal, table.noise_variance, table.from_origin))
        gain = self.spread / (signal.square() * self.spread + noise)
        variance = gain * noise
        origin = self.mean + signal * gain * (state - signal * self.mean) + variance.sqrt() * shift
        return GaussianKernel(
            share * origin + pick(table.from_state, k, shift) * state,
            pick(table.posterior_variance, k, shift) + share.square() * variance * softplus(scale + UNIT_SOFTPLUS),
        )


def build(config: DataPredictionConfig, context: Context) -> DataPrediction:
    """The operator that a recipe describes."""
    data = context.data
    return DataPrediction(context.build(config.network, heads=2), context.process, data.mean, data.variance.clamp_min(config.floor))
