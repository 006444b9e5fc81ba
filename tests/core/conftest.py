"""A small Gaussian chain of each kind that the core's tests need, and a trainer made by hand."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings
from torch import Tensor, nn

from chainkit.batch import Batch
from chainkit.build import Model
from chainkit.chain import Chain
from chainkit.data import Data
from chainkit.distributions import Gaussian
from chainkit.kernel import GaussianKernel
from chainkit.objective import LocalObjective
from chainkit.operator import TransitionOperator
from chainkit.optimisation import Optimisers, parameter_sets
from chainkit.prior import Prior
from chainkit.process import ForwardProcess
from chainkit.recipe.schema import TrainTable
from chainkit.training import Trainer
from chainkit.transition import Transition, log_ratio

settings.register_profile("core", deadline=None, derandomize=True)
settings.load_profile("core")


@pytest.fixture(scope="module")
def without_pictures() -> Iterator[None]:
    """Runs that take a moment spend nearly all of it on pictures, which have tests of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHAINKIT_DISABLE_PLUGINS", "figures")
        yield


class StandardNormal(Prior):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("zero", torch.zeros(dim, dtype=torch.float64))

    def forward(self, rows: int) -> Gaussian:
        return Gaussian(self.zero.expand(rows, -1), torch.ones_like(self.zero))


class Affine(TransitionOperator):
    """p(s_{k-1} | s_k) = N(W_k s_k + c_k, v_k): its chain has a closed form."""

    def __init__(self, dim: int, steps: int, batch_norm: bool = False) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(dim, dim) for _ in range(steps))
        self.log_variance = nn.Parameter(torch.full((steps, dim), -1.0))
        self.norms = nn.ModuleList(nn.BatchNorm1d(dim) for _ in range(steps)) if batch_norm else None
        self.evaluations = 0

    def forward(self, state: Tensor, k: int, condition: object = None) -> GaussianKernel:
        self.evaluations += 1
        hidden = state if self.norms is None else self.norms[k - 1](state)
        mean = self.layers[k - 1](hidden)
        mean = mean.float() if mean.dtype in (torch.bfloat16, torch.float16) else mean
        return GaussianKernel(mean, self.log_variance[k - 1].exp())


class Noising(ForwardProcess):
    """q(s_k | s_{k-1}) = N(a s_{k-1}, 1 - a^2), from the data to the noise."""

    def __init__(self, keep: float = 0.8) -> None:
        super().__init__()
        self.keep = keep

    def step(self, previous: Tensor) -> Gaussian:
        return Gaussian(self.keep * previous, torch.full_like(previous, 1 - self.keep**2))

    def walk(self, chain, batch, *, source=None, path_gradient=False, with_log_ratio=False) -> Iterator[Transition]:
        previous, temperatures = batch.origin, chain.temperatures()
        for k in range(1, chain.steps + 1):
            forward = self.step(previous)
            state = forward.rsample(source) if path_gradient else forward.sample(source)
            reverse = chain.operator(state, k, batch.condition).at(temperatures[k - 1])
            share = log_ratio(reverse, previous, forward, state) if with_log_ratio else None
            if with_log_ratio and k == chain.steps:
                share = share + chain.prior(batch.rows).log_prob(state)
            yield Transition(
                k=k,
                steps=chain.steps,
                state=state,
                previous=previous,
                origin=batch.origin,
                condition=batch.condition,
                reverse=reverse,
                log_ratio=share,
            )
            previous = state


class StepLikelihood(LocalObjective):
    """-log p(s_{k-1} | s_k), the part of the bound that a fixed process leaves to be learned."""

    def loss(self, transition: Transition) -> Tensor:
        return -transition.reverse.log_prob(transition.previous)


def affine_law(chain: Chain) -> torch.distributions.MultivariateNormal:
    """p(x) of an affine chain."""
    mean, covariance = torch.zeros(len(chain.prior.zero), dtype=torch.float64), torch.eye(len(chain.prior.zero), dtype=torch.float64)
    temperatures = chain.temperatures()
    for k in range(chain.steps, 0, -1):
        layer = chain.operator.layers[k - 1].double()
        variance = chain.operator.log_variance[k - 1].double().exp() * temperatures[k - 1]
        mean = layer.weight @ mean + layer.bias
        covariance = layer.weight @ covariance @ layer.weight.T + variance.diag()
    return torch.distributions.MultivariateNormal(mean.detach(), covariance.detach())


@pytest.fixture(scope="session")
def affine_model():
    """Makes a model over vectors: an affine Gaussian chain, a fixed noising process, a local objective."""

    def make(dim=2, steps=3, *, seed=0, dtype=torch.float32, batch_norm=False, objective=None, **chain) -> Model:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            operator = Affine(dim, steps, batch_norm)
        return Model(Chain(StandardNormal(dim), operator, steps, **chain), Noising(), objective or StepLikelihood()).to(dtype)

    return make


@pytest.fixture(scope="session")
def law_of():
    """p(x) of an affine model, as a distribution of torch."""
    return lambda model: affine_law(model.chain)


@pytest.fixture(scope="session")
def make_trainer():
    """Makes a trainer from a model and data; the keywords are keys of ``[train]``."""

    def make(model, data, *, optimizer=None, factories=None, seed=0, decay=None, device="cpu", steady=False, **settings) -> Trainer:
        table = TrainTable(optimizer=None, **settings)
        sets = parameter_sets(model, model.objective.parameter_sets())
        default = optimizer or (lambda parameters: torch.optim.Adam(parameters, lr=1e-2))
        factories = {name: (factories or {}).get(name, default) for name in sets}
        extra = {} if decay is None else {"decay": decay}
        optimisers = Optimisers(sets, factories, table.clip_norm)
        return Trainer(model, data, table, optimisers, seed=seed, device=device, steady=steady, **extra)

    return make


@pytest.fixture(scope="session")
def train():
    """Makes all updates of a trainer; returns the losses."""

    def run(trainer: Trainer) -> list[float]:
        losses = []
        while not trainer.done:
            losses += list(trainer.epoch_updates())
        return losses

    return run


@pytest.fixture(scope="session")
def mean_weight():
    """log E[w] by importance sampling over the last dimension of log w, and its standard error (delta method)."""

    def estimate(log_w: Tensor) -> tuple[Tensor, Tensor]:
        peak = log_w.amax(-1, keepdim=True)
        weights = (log_w - peak).exp()
        mean = weights.mean(-1)
        return mean.log() + peak.squeeze(-1), weights.std(-1) / mean / math.sqrt(log_w.shape[-1])

    return estimate


@pytest.fixture(scope="session")
def points():
    """A fixed cloud of correlated points in the plane, as data in memory."""

    def make(n=64, dim=2, dtype=torch.float32) -> Data:
        generator = torch.Generator().manual_seed(1)
        values = torch.randn(n, dim, generator=generator) @ torch.randn(dim, dim, generator=generator) + 0.5
        data = Data.of(values)
        data.to("cpu", dtype)
        return data

    return make


@pytest.fixture(scope="session")
def one_batch():
    """A batch of a data's first examples."""
    return lambda data, n=8: Batch(origin=data.split("train").values[:n].to(data.dtype), rows=n, index=torch.arange(n))
