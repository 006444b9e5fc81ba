"""An exact autoregressive chain: K = dimension, every step adds one coordinate, nothing is left to chance on the way.

s_k holds the first D - k coordinates, so that the noise end is the empty state and q is deterministic:
every walk has log w = log p(x).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from chainkit.build import Model
from chainkit.chain import Chain
from chainkit.data import Data
from chainkit.distributions import Bernoulli, Density
from chainkit.kernel import Kernel, UntemperedKernel
from chainkit.log_weight import log_weights
from chainkit.objective import LocalObjective
from chainkit.operator import TransitionOperator
from chainkit.prior import Prior
from chainkit.process import ForwardProcess
from chainkit.random import seeded
from chainkit.transition import Transition

DIM = 5
STATES = torch.tensor(list(itertools.product([0.0, 1.0], repeat=DIM)), dtype=torch.float64)


class Appended(Density):
    """A known prefix followed by one random bit."""

    def __init__(self, prefix: Tensor, logit: Tensor) -> None:
        self.prefix, self.bit = prefix, Bernoulli(logit)

    def sample(self, source=None) -> Tensor:
        return torch.cat([self.prefix, self.bit.sample(source)], 1)

    def log_prob(self, value: Tensor) -> Tensor:
        kept = (value[:, :-1] == self.prefix).all(1)
        return torch.where(kept, self.bit.log_prob(value[:, -1:]), -torch.inf)


class Known(Density):
    """A state that is certain."""

    def __init__(self, state: Tensor) -> None:
        self.state = state

    def sample(self, source=None) -> Tensor:
        return self.state

    def log_prob(self, value: Tensor) -> Tensor:
        return torch.where((value == self.state).all(1), 0.0, -torch.inf).to(value.dtype)


def features(state: Tensor) -> Tensor:
    pairs = (state[:, :, None] * state[:, None]).flatten(1)
    return torch.cat([state.new_ones(len(state), 1), state, pairs], 1)


class Logistic(TransitionOperator):
    """Bit i is a logistic regression on the bits and pairs of bits before it."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(1 + i + i * i, 1, bias=False) for i in range(DIM))

    def forward(self, state: Tensor, k: int, condition: object = None) -> Kernel:
        return UntemperedKernel(Appended(state, self.layers[DIM - k](features(state))))


class Empty(Prior):
    def forward(self, rows: int) -> Known:
        return Known(torch.empty(rows, 0, dtype=torch.float64))


class Masking(ForwardProcess):
    def walk(self, chain, batch, *, source=None, path_gradient=False, with_log_ratio=False) -> Iterator[Transition]:
        for k in range(1, chain.steps + 1):
            previous, state = batch.origin[:, : DIM - k + 1], batch.origin[:, : DIM - k]
            reverse = chain.operator(state, k).at()
            share = reverse.log_prob(previous) if with_log_ratio else None
            if with_log_ratio and k == chain.steps:
                share = share + chain.prior(batch.rows).log_prob(state)
            yield Transition(k=k, steps=chain.steps, state=state, previous=previous, origin=batch.origin, reverse=reverse, log_ratio=share)


class NextBit(LocalObjective):
    def loss(self, transition: Transition) -> Tensor:
        return -transition.reverse.log_prob(transition.previous)


def log_p(chain: Chain, x: Tensor) -> Tensor:
    """log p(x) from the logistic regressions, without chain or process."""
    total = torch.zeros(len(x), dtype=torch.float64)
    for i, layer in enumerate(chain.operator.layers):
        logit = layer(features(x[:, :i])).squeeze(1)
        total = total + torch.distributions.Bernoulli(logits=logit).log_prob(x[:, i])
    return total.detach()


@pytest.fixture(scope="module")
def data() -> Data:
    """Parity of the first four bits in the fifth, nine times out of ten; the first bit is mostly one."""
    generator = torch.Generator().manual_seed(0)
    bits = torch.rand(2000, DIM, generator=generator).lt(torch.tensor([0.8, 0.5, 0.5, 0.5, 0.9])).double()
    bits[:, 4] = torch.where(bits[:, 4] == 1, bits[:, 2], 1 - bits[:, 2])
    data = Data.of(bits, test=STATES, binary=True)
    data.to("cpu", torch.float64)
    return data


@pytest.fixture(scope="module")
def trained(make_trainer, train, data) -> Model:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Model(Chain(Empty(), Logistic(), DIM), Masking(), NextBit()).double()
    train(make_trainer(model, data, epochs=20, batch_size=200, optimizer=lambda parameters: torch.optim.Adam(parameters, lr=0.05)))
    return model


def test_every_walk_has_the_exact_log_likelihood(trained, data):
    log_w = log_weights(trained.chain, trained.process, data("test"), 7)
    exact = log_p(trained.chain, STATES)
    torch.testing.assert_close(log_w, exact[:, None].expand(-1, 7), atol=1e-12, rtol=0)
    assert (log_w == log_w[:, :1]).all()


def test_probabilities_sum_to_one(trained, data):
    log_w = log_weights(trained.chain, trained.process, data("test"), 1)
    assert float(log_w.exp().sum()) == pytest.approx(1, abs=1e-12)


def test_training_maximises_the_likelihood(trained, data):
    x = data.split("train").values
    counts = (x @ torch.tensor([16.0, 8, 4, 2, 1]).double()).long().bincount(minlength=32).double()
    entropy = -float((counts / counts.sum() * (counts / counts.sum()).clamp(min=1e-9).log()).sum())
    reached = float(log_p(trained.chain, x).mean())
    assert -entropy - 0.03 < reached <= -entropy


def test_samples_grow_by_one_coordinate_a_step_and_follow_the_law(trained):
    n = 20_000
    samples = trained.chain.sample(n, source=seeded("cpu", 1), keep_path=True)
    assert [state.shape[1] for state in samples.path] == list(range(DIM + 1))
    assert samples.mean is None
    frequency = (samples.state @ torch.tensor([16.0, 8, 4, 2, 1]).double()).long().bincount(minlength=32) / n
    law = log_p(trained.chain, STATES).exp()
    assert ((frequency - law).abs() < 4.5 * (law * (1 - law) / n).sqrt() + 1e-9).all()
