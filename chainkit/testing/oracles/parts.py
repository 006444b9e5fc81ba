"""The oracles' parts as a plugin, so that recipes and parametrised tests can name them."""

from __future__ import annotations

from typing import Any

import attrs
import torch
from torch import Tensor

import chainkit
from chainkit.capabilities import BinaryStates, Density, Factorial, HasMean, Posteriors, RealStates, Reparametrised
from chainkit.component import Component, Context
from chainkit.config import above
from chainkit.data import SPLITS, Data, Split
from chainkit.kernel import BernoulliKernel, GaussianKernel
from chainkit.operator import TransitionOperator
from chainkit.preparation import Unprepared
from chainkit.random import seeded
from chainkit.testing.oracles.full_gaussian import FullGaussian
from chainkit.testing.oracles.gaussian_reverse import GaussianReverse
from chainkit.testing.oracles.linear_network import LinearNetwork

ROWS = 200


@attrs.frozen(kw_only=True)
class LinearConfig:
    """A network that is linear in the state in its first head and constant in the others, per step.

    Arguments:
        gain: Standard deviation of its weights, above 0.
    """

    gain: float = attrs.field(default=0.5, validator=above(0))


@attrs.frozen(kw_only=True)
class BitsConfig:
    """Bits whose log odds are linear in the state; log p(x) is known by enumeration. No settings."""


@attrs.frozen(kw_only=True)
class GaussianConfig:
    """N(A_k s + b_k, v I); log p(x) is known in closed form.

    Arguments:
        variance: v, above 0, in squared model units.
    """

    variance: float = attrs.field(default=0.5, validator=above(0))


@attrs.frozen(kw_only=True)
class ReverseConfig:
    """The exact reverse of the recipe's diffusion for Gaussian data with the moments of its own (a full covariance).

    Arguments:
        exact: Whether its variance is the exact one, or that of the forward step.
    """

    exact: bool = True


@attrs.frozen(kw_only=True)
class DataConfig:
    """Draws of a Gaussian with correlated elements, the one that ``oracle-reverse`` reverses.

    Arguments:
        dim: Number of elements, above 0.
    """

    dim: int = attrs.field(default=2, validator=above(0))


class OracleOperator(TransitionOperator):
    """A linear network's head as the logits or the mean of the next state.

    Arguments:
        network: The network, with one head.
        variance: v of real states; None for bits.
    """

    def __init__(self, network: LinearNetwork, variance: float | None = None) -> None:
        super().__init__()
        self.network = network
        self.variance = variance

    def forward(self, state: Tensor, k: int | Tensor, condition: Any = None) -> BernoulliKernel | GaussianKernel:
        (head,) = self.network(state, k, condition)
        return BernoulliKernel(head) if self.variance is None else GaussianKernel(head, torch.full_like(head, self.variance))


def gaussian_law(dim: int) -> tuple[Tensor, Tensor]:
    """Mean [dim] and covariance [dim, dim] of the Gaussian data, float64; neighbours are correlated."""
    place = torch.arange(dim, dtype=torch.float64)
    covariance = 0.6 * 0.5 ** (place[:, None] - place).abs()
    return 0.3 - 0.4 * place, covariance


def _network(config: LinearConfig, context: Context) -> LinearNetwork:
    return LinearNetwork(context.data.shape, context.heads, context.steps, config.gain)


def _bits(config: BitsConfig, context: Context) -> OracleOperator:
    return OracleOperator(LinearNetwork(context.data.shape, 1, context.steps))


def _gaussian(config: GaussianConfig, context: Context) -> OracleOperator:
    return OracleOperator(LinearNetwork(context.data.shape, 1, context.steps), config.variance)


def _reverse(config: ReverseConfig, context: Context) -> GaussianReverse:
    mean, covariance = gaussian_law(context.data.dim)
    return GaussianReverse(context.process, context.steps, mean.view(context.data.shape), covariance, exact=config.exact)


def _data(config: DataConfig, context: Context) -> Data:
    mean, covariance = gaussian_law(config.dim)
    law, source = FullGaussian(mean.expand(ROWS, -1), covariance), seeded("cpu", 0, "oracle data")
    return Data("oracle", {name: Split(values=law.sample(source).float()) for name in SPLITS}, Unprepared(False))


class OracleParts:
    """The plugin."""

    chainkit_api = (1, 1)

    @chainkit.hookimpl
    def chainkit_datasets(self) -> list[Component]:
        """Gaussian data."""
        return [Component(name="oracle-gaussian", config=DataConfig, build=_data, provides=(RealStates,))]

    @chainkit.hookimpl
    def chainkit_networks(self) -> list[Component]:
        """The linear network."""
        return [Component(name="oracle-linear", config=LinearConfig, build=_network)]

    @chainkit.hookimpl
    def chainkit_operators(self) -> list[Component]:
        """Operators whose chains are known exactly."""
        factorial = (Density, Factorial, HasMean)
        bits, real = {"dataset": (BinaryStates,)}, {"dataset": (RealStates,)}
        return [
            Component(name="oracle-bits", config=BitsConfig, build=_bits, provides=factorial, needs=bits),
            Component(name="oracle-gaussian", config=GaussianConfig, build=_gaussian, provides=(*factorial, Reparametrised), needs=real),
            Component(
                name="oracle-reverse",
                config=ReverseConfig,
                build=_reverse,
                provides=(Density, HasMean, Reparametrised),
                needs={**real, "process": (Posteriors,)},
            ),
        ]
