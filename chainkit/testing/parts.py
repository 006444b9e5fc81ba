"""The tiny chain as a plugin, so that recipes can name its parts: ``operator = { type = "tiny" }``.

There is one component of every kind that a recipe needs, each named ``tiny``. A plugin's author
writes a recipe around a component of their own, and fills its other places with these.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
import torch
from torch import Tensor, nn

import chainkit
from chainkit.capabilities import BinaryStates, Density, Factorial, HasMean, Labelled, RealStates, Reparametrised
from chainkit.chain import Chain
from chainkit.component import Component, Context
from chainkit.config import above, at_least
from chainkit.data import Data, Examples
from chainkit.estimator import Estimate, Estimator
from chainkit.log_weight import log_weights
from chainkit.objective import LocalObjective
from chainkit.process import ForwardProcess
from chainkit.testing.tiny import TinyBernoulli, TinyGaussian, TinyOperator, TinyPrior, TinyProcess, tiny_data
from chainkit.transition import Transition


@attrs.frozen(kw_only=True)
class Plain:
    """No settings: states are real or binary as the data is."""


@attrs.frozen(kw_only=True)
class DataConfig:
    """48 examples each for training, validation and testing (:func:`chainkit.testing.tiny_data`).

    Arguments:
        shape: Shape of one example.
        binary: Whether values are zeros and ones.
        labels: Whether labels of three classes condition the chain.
    """

    shape: list[int] = attrs.field(factory=lambda: [2], validator=at_least(1))
    binary: bool = False
    labels: bool = False


@attrs.frozen(kw_only=True)
class WalksConfig:
    """The mean of log w.

    Arguments:
        walks: Walks from each example, 1 or more.
    """

    walks: int = attrs.field(default=2, validator=at_least(1))


@attrs.frozen(kw_only=True)
class DescentConfig:
    """Adam, as torch has it.

    Arguments:
        lr: Learning rate, above 0.
    """

    lr: float = attrs.field(default=0.01, validator=above(0))


class TinyObjective(LocalObjective):
    """-log p(s_{k-1} | s_k), the part of the bound that a fixed process leaves to be learned."""

    def loss(self, transition: Transition) -> Tensor:
        """The loss of one step: [B], in nats."""
        assert isinstance(transition.reverse, Density)
        return -transition.reverse.log_prob(transition.previous)


@attrs.frozen(kw_only=True)
class TinyEstimator(Estimator):
    """The mean of log w, a lower bound on log p(x).

    Arguments:
        walks: Walks from each example, 1 or more.
    """

    walks: int = 2

    def estimate(self, chain: Chain, process: ForwardProcess, examples: Examples) -> Estimate:
        values = log_weights(chain, process, examples, self.walks).mean(1)
        return Estimate(
            name="tiny bound",
            meaning="lower bound on log p(x)",
            value=float(values.mean()),
            error_examples=float(values.std() / len(values) ** 0.5),
            walks=self.walks,
            examples=len(examples),
            split=examples.split,
            preparation=examples.data.preparation.words,
            dim=examples.data.summary.dim,
            seed=examples.seed,
        )


def _data(config: DataConfig, context: Context) -> Data:
    return tiny_data(config.shape, binary=config.binary, conditional=config.labels)


def _kind(config: DataConfig) -> tuple[type, ...]:
    return (BinaryStates if config.binary else RealStates, *([Labelled] if config.labels else []))


def _binary(context: Context) -> bool:
    return context.data.states is BinaryStates


def _prior(config: Plain, context: Context) -> TinyPrior:
    return TinyPrior(context.data.shape, binary=_binary(context))


def _operator(config: Plain, context: Context) -> TinyOperator:
    return TinyBernoulli(context.steps) if _binary(context) else TinyGaussian(context.steps)


def _process(config: Plain, context: Context) -> TinyProcess:
    return TinyProcess(binary=_binary(context))


def _objective(config: Plain, context: Context) -> TinyObjective:
    return TinyObjective()


def _estimator(config: WalksConfig, context: Context) -> TinyEstimator:
    return TinyEstimator(walks=config.walks)


def _optimizer(config: DescentConfig, context: Context) -> Callable[[list[nn.Parameter]], torch.optim.Optimizer]:
    return lambda parameters: torch.optim.Adam(parameters, lr=config.lr)


class TinyParts:
    """The plugin."""

    chainkit_api = (1, 1)

    @chainkit.hookimpl
    def chainkit_datasets(self) -> list[Component]:
        """The data."""
        return [Component(name="tiny", config=DataConfig, build=_data, provides=_kind)]

    @chainkit.hookimpl
    def chainkit_priors(self) -> list[Component]:
        """N(0, 1), or fair coins."""
        return [Component(name="tiny", config=Plain, build=_prior, provides=(Density, Factorial, HasMean))]

    @chainkit.hookimpl
    def chainkit_operators(self) -> list[Component]:
        """The operator whose chain is exact."""
        return [Component(name="tiny", config=Plain, build=_operator, provides=(Density, Factorial, HasMean, Reparametrised))]

    @chainkit.hookimpl
    def chainkit_processes(self) -> list[Component]:
        """The fixed process."""
        return [Component(name="tiny", config=Plain, build=_process)]

    @chainkit.hookimpl
    def chainkit_objectives(self) -> list[Component]:
        """The local objective."""
        return [Component(name="tiny", config=Plain, build=_objective, needs={"operator": (Density,)})]

    @chainkit.hookimpl
    def chainkit_estimators(self) -> list[Component]:
        """The bound."""
        return [Component(name="tiny", config=WalksConfig, build=_estimator)]

    @chainkit.hookimpl
    def chainkit_optimizers(self) -> list[Component]:
        """Adam."""
        return [Component(name="tiny", config=DescentConfig, build=_optimizer)]
