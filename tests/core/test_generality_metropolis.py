"""A reversible Metropolis chain over an enumerable energy: annealed importance sampling from both ends.

Neither direction has a density of its own; all that the core sees is ``Reversible.log_target``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from chainkit.capabilities import Reversible
from chainkit.chain import Chain
from chainkit.data import Data
from chainkit.distributions import Bernoulli
from chainkit.kernel import Kernel
from chainkit.log_weight import log_weights
from chainkit.operator import TransitionOperator
from chainkit.prior import Prior
from chainkit.process import ForwardProcess
from chainkit.random import integers, seeded, uniform
from chainkit.schedule import Schedule
from chainkit.transition import Transition, log_ratio

BITS, STEPS = 4, 60


class Energy(TransitionOperator):
    """log pi(s) = s' J s + b' s + const, J and b fixed; one Metropolis step flips one site."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.register_buffer("coupling", torch.randn(BITS, BITS, generator=generator).double())
        self.register_buffer("bias", torch.randn(BITS, generator=generator).double())

    def log_target(self, value: Tensor) -> Tensor:
        return ((value @ self.coupling) * value).sum(1) + value @ self.bias

    def forward(self, state: Tensor, k: int, condition: object = None) -> Kernel:
        return MetropolisKernel(self, state)


class MetropolisKernel(Kernel):
    def __init__(self, energy: Energy, state: Tensor) -> None:
        self.energy, self.state = energy, state

    def at(self, temperature: float = 1.0) -> Metropolis:
        return Metropolis(self.energy, self.state, temperature)


class Metropolis(Reversible):
    def __init__(self, energy: Energy, state: Tensor, temperature: float) -> None:
        self.energy, self.state, self.temperature = energy, state, temperature

    def log_target(self, value: Tensor) -> Tensor:
        return self.energy.log_target(value) / self.temperature

    def sample(self, source=None) -> Tensor:
        site = integers(0, BITS - 1, len(self.state), self.state.device, source)
        proposed = self.state.clone()
        rows = torch.arange(len(site))
        proposed[rows, site] = 1 - proposed[rows, site]
        gain = self.log_target(proposed) - self.log_target(self.state)
        accepted = uniform(gain, source).log() < gain
        return torch.where(accepted[:, None], proposed, self.state)


class Cooling(Schedule):
    """1 / T_k falls evenly from 1 towards 0."""

    def values(self, steps: int) -> Tensor:
        return steps / torch.arange(steps, 0, -1, dtype=torch.float64)


class FairCoins(Prior):
    def forward(self, rows: int) -> Bernoulli:
        return Bernoulli(torch.zeros(rows, BITS, dtype=torch.float64))


class Annealed(ForwardProcess):
    """From x to the noise by the operator's own transitions, ever hotter."""

    def walk(self, chain, batch, *, source=None, path_gradient=False, with_log_ratio=False) -> Iterator[Transition]:
        kernel, previous = chain.operator(batch.origin, 1), batch.origin
        for k, temperature in enumerate(chain.temperatures(), 1):
            forward = kernel.at(temperature)
            state = forward.sample(source)
            kernel = chain.operator(state, k)
            reverse = kernel.at(temperature)
            share = log_ratio(reverse, previous, forward, state) if with_log_ratio else None
            if with_log_ratio and k == chain.steps:
                share = share + chain.prior(batch.rows).log_prob(state)
            yield Transition(k=k, steps=chain.steps, state=state, previous=previous, origin=batch.origin, reverse=reverse, log_ratio=share)
            previous = state


@pytest.fixture
def chain() -> Chain:
    return Chain(FairCoins(), Energy(), STEPS, temperature=Cooling())


STATES = torch.tensor(list(itertools.product([0.0, 1.0], repeat=BITS)), dtype=torch.float64)


def log_partition(chain: Chain) -> float:
    return float(chain.operator.log_target(STATES).logsumexp(0))


def exact_marginal(chain: Chain) -> Tensor:
    """p(s_0) of the generative chain for all 16 states, by the transition matrices."""
    law = torch.full((len(STATES),), 1 / len(STATES), dtype=torch.float64)
    neighbour = (STATES[:, None] != STATES[None]).sum(2) == 1
    for temperature in reversed(chain.temperatures()):
        level = chain.operator.log_target(STATES) / temperature
        matrix = neighbour * (level[None] - level[:, None]).exp().clamp(max=1) / BITS
        matrix += (1 - matrix.sum(1)).diag()
        law = law @ matrix
    return law


def dataset(values: Tensor) -> Data:
    data = Data.of(values, binary=True)
    data.to("cpu", torch.float64)
    return data


def test_importance_weights_average_to_the_exact_marginal_of_every_state(chain, mean_weight):
    log_w = log_weights(chain, Annealed(), dataset(STATES)("train"), 4000, max_rows=40_000)
    estimate, error = mean_weight(log_w)
    assert ((estimate - exact_marginal(chain).log()).abs() < 4 * error).all()
    assert (error < 0.1).all()


def test_annealing_from_data_gives_the_partition_function(chain, mean_weight):
    """Reverse AIS: E[exp(log w - log pi~(x))] = 1 / Z over x from pi and its walks."""
    weights = (chain.operator.log_target(STATES) - log_partition(chain)).exp()
    drawn = STATES[weights.multinomial(4000, replacement=True, generator=seeded("cpu", 9))]
    log_w = log_weights(chain, Annealed(), dataset(drawn)("train"), 1).squeeze(1)
    estimate, error = mean_weight(log_w - chain.operator.log_target(drawn))
    assert error < 0.1
    assert abs(float(-estimate) - log_partition(chain)) < 4 * float(error)


def test_annealing_from_noise_gives_the_partition_function(chain, mean_weight):
    """AIS along a sampled path, its steps weighed by the same ``log_ratio``."""
    path = chain.sample(4000, source=seeded("cpu", 4), keep_path=True).path
    log_w = chain.operator.log_target(path[-1]) - chain.prior(4000).log_prob(path[0])
    for k, (state, previous), temperature in zip(
        range(STEPS, 0, -1), itertools.pairwise(path), reversed(chain.temperatures()), strict=True
    ):
        reverse, forward = chain.operator(state, k).at(temperature), chain.operator(previous, k).at(temperature)
        log_w = log_w - log_ratio(reverse, previous, forward, state)
    estimate, error = mean_weight(log_w)
    assert error < 0.1
    assert abs(float(estimate) - log_partition(chain)) < 4 * float(error)


def test_samples_follow_the_exact_marginal(chain):
    n = 20_000
    drawn = chain.sample(n, source=seeded("cpu", 6)).state
    index = (drawn @ torch.tensor([8.0, 4.0, 2.0, 1.0]).double()).long()
    frequency = index.bincount(minlength=len(STATES)) / n
    exact = exact_marginal(chain)
    assert ((frequency - exact).abs() < 4.5 * (exact * (1 - exact) / n).sqrt()).all()


def test_annealing_ends_near_the_energy_that_it_aims_at(chain):
    weights = (chain.operator.log_target(STATES) - log_partition(chain)).exp()
    assert 0.5 * float((exact_marginal(chain) - weights).abs().sum()) < 0.1
    assert math.isclose(float(exact_marginal(chain).sum()), 1)
