"""An objective with state of its own: persistent chains of a Boltzmann machine, one per training example.

The machine is fully visible and small, so that its moments are enumerated; at the maximum of the
likelihood they are those of the data.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from chainkit.batch import Batch
from chainkit.build import Model
from chainkit.bundle import read_bundle, write_bundle
from chainkit.capabilities import Distribution
from chainkit.chain import Chain
from chainkit.data import Data
from chainkit.distributions import Bernoulli
from chainkit.kernel import Kernel, UntemperedKernel
from chainkit.objective import Loss, Objective
from chainkit.operator import TransitionOperator
from chainkit.prior import Prior
from chainkit.process import ForwardProcess
from chainkit.random import uniform
from chainkit.training import module_tensors
from chainkit.transition import Transition

BITS, EXAMPLES = 3, 500
STATES = torch.tensor(list(itertools.product([0.0, 1.0], repeat=BITS)))


class Boltzmann(TransitionOperator):
    """E(s) = -s' W s - b' s, W strictly upper triangular; a step is one Gibbs sweep."""

    def __init__(self) -> None:
        super().__init__()
        self.bias, self.weight = nn.Parameter(torch.zeros(BITS)), nn.Parameter(torch.zeros(BITS, BITS))

    def energy(self, state: Tensor) -> Tensor:
        return -((state @ self.weight.triu(1)) * state).sum(1) - state @ self.bias

    def forward(self, state: Tensor, k: int, condition: object = None) -> Kernel:
        return UntemperedKernel(GibbsSweep(self.bias, self.weight.triu(1), state))


class GibbsSweep(Distribution):
    def __init__(self, bias: Tensor, weight: Tensor, state: Tensor) -> None:
        self.bias, self.coupling, self.state = bias.detach(), (weight + weight.T).detach(), state

    def sample(self, source=None) -> Tensor:
        state = self.state.clone()
        for site in range(BITS):
            rate = (state @ self.coupling[site] + self.bias[site]).sigmoid()
            state[:, site] = (uniform(rate, source) < rate).to(state.dtype)
        return state


class FairCoins(Prior):
    def forward(self, rows: int) -> Bernoulli:
        return Bernoulli(torch.zeros(rows, BITS))


class OwnSteps(ForwardProcess):
    """The operator itself, from wherever the batch is."""

    def walk(self, chain, batch, *, source=None, path_gradient=False, with_log_ratio=False) -> Iterator[Transition]:
        previous, kernel = batch.origin, chain.operator(batch.origin, 1)
        for k in range(1, chain.steps + 1):
            state = kernel.at().sample(source)
            kernel = chain.operator(state, k)
            yield Transition(k=k, steps=chain.steps, state=state, previous=previous, origin=batch.origin, reverse=kernel.at())
            previous = state


class PersistentDivergence(Objective):
    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.register_buffer("chains", torch.randint(2, (EXAMPLES, BITS), generator=generator).float())

    def losses(self, chain, process, batch, *, source=None) -> Iterator[Loss]:
        start = Batch(origin=self.chains[batch.index], rows=batch.rows, index=batch.index)
        *_, last = process.walk(chain, start, source=source)
        self.chains[batch.index] = last.state
        operator = chain.operator
        yield Loss(value=operator.energy(batch.origin).mean() - operator.energy(last.state).mean())


@pytest.fixture
def model() -> Model:
    return Model(Chain(FairCoins(), Boltzmann(), 3), OwnSteps(), PersistentDivergence())


@pytest.fixture
def data() -> Data:
    chances = torch.tensor([0.3, 0.02, 0.05, 0.1, 0.08, 0.05, 0.05, 0.35])
    return Data.of(STATES[chances.multinomial(EXAMPLES, replacement=True, generator=torch.Generator().manual_seed(1))], binary=True)


@pytest.fixture
def trainer(make_trainer, model, data):
    return make_trainer(
        model,
        data,
        batch_size=250,
        epochs=400,
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.5),
        decay=lambda update, updates: (1 - update / updates) ** 2,
    )


def moments(states: Tensor, chances: Tensor) -> Tensor:
    """First moments on the diagonal, second ones beside it."""
    return (states.T * chances) @ states


def test_trained_moments_are_those_of_the_data(trainer, train, model, data):
    train(trainer)
    x = data.split("train").values
    chances = (-model.chain.operator.energy(STATES)).softmax(0).detach()
    expected = moments(x, torch.full((EXAMPLES,), 1 / EXAMPLES))
    assert (moments(STATES, torch.full((8,), 1 / 8)) - expected).abs().max() > 0.1
    torch.testing.assert_close(moments(STATES, chances), expected, atol=0.03, rtol=0)


def test_only_the_chains_of_the_batch_move(trainer, model):
    before = model.objective.chains.clone()
    next(trainer.epoch_updates())
    moved = (model.objective.chains != before).any(1)
    assert 0 < int(moved.sum()) <= 250


def test_chains_are_saved_and_restored(trainer, make_trainer, model, data, tmp_path):
    updates = trainer.epoch_updates()
    next(updates)
    write_bundle(tmp_path / "state", *trainer.state())
    next(updates)
    again = make_trainer(
        Model(Chain(FairCoins(), Boltzmann(), 3), OwnSteps(), PersistentDivergence()),
        data,
        batch_size=250,
        epochs=400,
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.5),
        decay=lambda update, updates: (1 - update / updates) ** 2,
    )
    again.restore(*read_bundle(tmp_path / "state"))
    next(again.epoch_updates())
    expected, found = module_tensors(model), module_tensors(again.model)
    assert "objective.chains" in expected
    assert all(torch.equal(expected[name], found[name]) for name in expected)
