r"""The reverse of a Gaussian diffusion by way of the noise (Ho et al. 2020).

With ``s_k = sqrt(a_k) x + sqrt(1 - a_k) e`` the network predicts e, and (eq. 11)

.. math:: p(s_{k-1} | s_k) = N(\mu, v_k I), \qquad
    \mu = \frac{1}{\sqrt{1 - b_k}} \left(s_k - \frac{b_k}{\sqrt{1 - a_k}}\, e(s_k, k)\right)

which is the posterior mean of s_{k-1} at the predicted data point (eq. 15)

.. math:: \hat x = (s_k - \sqrt{1 - a_k}\, e(s_k, k)) / \sqrt{a_k}.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from chainkit import Context, Network, TransitionOperator
from chainkit.capabilities import Respaceable
from chainkit.distributions import Gaussian
from chainkit.kernel import GaussianKernel
from chainkit_diffusion.capabilities import PredictsNoise
from chainkit_diffusion.configs import NoisePredictionConfig
from chainkit_diffusion.gaussian import GaussianDiffusion, GaussianTable
from chainkit_diffusion.steps import pick, wide


class NoiseGaussian(Gaussian, PredictsNoise):
    """A Gaussian that knows the noise it was made from.

    Arguments:
        mean: mu, [B, *event].
        variance: v > 0, broadcastable to ``mean``.
        noise: The predicted noise e, [B, *event].
    """

    def __init__(self, mean: Tensor, variance: Tensor, noise: Tensor) -> None:
        super().__init__(mean, variance)
        self._noise = noise

    @property
    def noise(self) -> Tensor:
        return self._noise


class NoiseKernel(GaussianKernel):
    """N(mu, T v), with the noise that mu was made from.

    Arguments:
        mean: mu, [B, *event].
        variance: v > 0 at temperature 1, broadcastable to ``mean``.
        noise: The predicted noise e, [B, *event].
    """

    def __init__(self, mean: Tensor, variance: Tensor, noise: Tensor) -> None:
        super().__init__(mean, variance)
        self.noise = noise

    def at(self, temperature: float | Tensor = 1.0) -> NoiseGaussian:
        heated = super().at(temperature)
        return NoiseGaussian(heated.mean, heated.variance, self.noise)


class NoisePrediction(TransitionOperator, Respaceable):
    """A Gaussian of fixed variance whose mean follows from the predicted noise.

    p(x | s_1) is the same formula at k = 1, a Gaussian around the predicted data point; the
    posterior variance vanishes there, and b_1 takes its place.

    Arguments:
        network: The network, with one head: the noise e.
        process: The diffusion, shared with the training.
        variance: v_k: ``b``, that of the forward kernel, or ``posterior``, that of
            q(s_{k-1} | s_k, x). They are the best for data of unit variance and for data at one
            point (Ho et al. 2020, section 3.2).
        clip: The smallest and the largest value of the data, in model units: predicted data points
            are held within them. Left out, they are free.

    Raises:
        ValueError: A step of the process leaves nothing of the data (b_k = 1), so that its noise
            says nothing of x.
    """

    def __init__(
        self,
        network: Network,
        process: GaussianDiffusion,
        *,
        variance: Literal["b", "posterior"] = "b",
        clip: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if bool((process.schedule.values(process.steps) == 1).any()):
            raise ValueError("noise cannot be predicted where a step leaves nothing of the data: choose a schedule with every b_k below 1")
        self.network = network
        self.process = process
        self.variance = variance
        self.clip = clip

    def forward(self, state: Tensor, k: int | Tensor, condition: Any = None) -> NoiseKernel:
        (head,) = self.network(state, k, condition)
        noise = wide(head)
        table = self.process.table(state.device)
        column = table.variance if self.variance == "b" else table.reverse_variance
        return NoiseKernel(self._mean(table, state, noise, k), pick(column, k, noise), noise)

    def _mean(self, table: GaussianTable, state: Tensor, noise: Tensor, k: int | Tensor) -> Tensor:
        if self.clip is None:
            excess = pick(table.variance, k, noise) / pick(table.noise, k, noise) * noise
            return (state - excess) / pick(table.decay, k, noise)
        origin = (state - pick(table.noise, k, noise) * noise) / pick(table.signal, k, noise)
        return pick(table.from_origin, k, noise) * origin.clamp(*self.clip) + pick(table.from_state, k, noise) * state

    def respaced(self, steps: list[int]) -> NoisePrediction:
        """The operator on some of the steps, with the variances that lead from one to the next; the network is shared."""
        return NoisePrediction(_Renumbered(self.network, steps), self.process.respaced(steps), variance=self.variance, clip=self.clip)


class _Renumbered(Network):
    """A network whose step j is the trained step ``steps[j - 1]``."""

    def __init__(self, network: Network, steps: list[int]) -> None:
        super().__init__()
        self.network = network
        self.steps = steps

    def forward(self, state: Tensor, k: int | Tensor, condition: Any = None) -> tuple[Tensor, ...]:
        trained = torch.tensor(self.steps, device=k.device)[k - 1] if isinstance(k, Tensor) else self.steps[k - 1]
        return self.network(state, trained, condition)

    def bias_heads(self, biases: Sequence[Tensor | None]) -> None:
        self.network.bias_heads(biases)


def build(config: NoisePredictionConfig, context: Context) -> NoisePrediction:
    """The operator that a recipe describes."""
    network = context.build(config.network, heads=1)
    return NoisePrediction(network, context.process, variance=config.variance, clip=config.clip)
