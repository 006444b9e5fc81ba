"""A label-conditional chain over two bits: what it is conditioned on travels with the batch to every part."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from chainkit.build import Model
from chainkit.chain import Chain
from chainkit.data import Data, Split
from chainkit.distributions import Bernoulli
from chainkit.kernel import BernoulliKernel, Kernel
from chainkit.log_weight import log_weights
from chainkit.objective import LocalObjective
from chainkit.operator import TransitionOperator
from chainkit.preparation import Unprepared
from chainkit.prior import Prior
from chainkit.process import ForwardProcess
from chainkit.random import seeded
from chainkit.transition import Transition, log_ratio

CLASSES, BITS, STEPS, FLIP = 3, 2, 3, 0.2
STATES = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=torch.float64)
TRUTH = torch.tensor([[0.9, 0.05, 0.04, 0.01], [0.05, 0.45, 0.45, 0.05], [0.02, 0.08, 0.1, 0.8]], dtype=torch.float64)
"""p*(x | label), one row per label."""


def number(state: Tensor) -> Tensor:
    return (2 * state[:, 0] + state[:, 1]).long()


class Table(TransitionOperator):
    """Logits of every bit of s_{k-1}, one entry per label, step and state."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(CLASSES, STEPS, len(STATES), BITS, dtype=torch.float64))

    def forward(self, state: Tensor, k: int, condition: Tensor) -> Kernel:
        return BernoulliKernel(self.logits[condition, k - 1, number(state)])


class FairCoins(Prior):
    def forward(self, rows: int) -> Bernoulli:
        return Bernoulli(torch.zeros(rows, BITS, dtype=torch.float64))


class Flips(ForwardProcess):
    """Every bit flips with probability FLIP at every step, whatever the label."""

    def walk(self, chain, batch, *, source=None, path_gradient=False, with_log_ratio=False) -> Iterator[Transition]:
        previous = batch.origin
        for k in range(1, chain.steps + 1):
            forward = Bernoulli((previous * (1 - FLIP) + (1 - previous) * FLIP).logit())
            state = forward.sample(source)
            reverse = chain.operator(state, k, batch.condition).at()
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
    def loss(self, transition: Transition) -> Tensor:
        assert transition.condition.shape == (len(transition.origin),)
        return -transition.reverse.log_prob(transition.previous)


def exact(chain: Chain) -> Tensor:
    """p(x | label) of the chain by enumeration: [labels, states]."""
    laws = []
    for label in range(CLASSES):
        law = torch.full((len(STATES),), 1 / len(STATES), dtype=torch.float64)
        for k in range(chain.steps, 0, -1):
            reverse = chain.operator(STATES, k, torch.full((len(STATES),), label)).at()
            rows = [reverse.log_prob(target.expand_as(STATES)).exp() for target in STATES]
            law = law @ torch.stack(rows, 1)
        laws.append(law.detach())
    return torch.stack(laws)


@pytest.fixture(scope="module")
def data() -> Data:
    generator = torch.Generator().manual_seed(2)

    def split(n: int) -> Split:
        labels = torch.randint(CLASSES, (n,), generator=generator)
        return Split(values=STATES[TRUTH[labels].multinomial(1, generator=generator).squeeze(1)], labels=labels)

    every = Split(values=STATES.repeat(CLASSES, 1), labels=torch.arange(CLASSES).repeat_interleave(len(STATES)))
    data = Data("bits", {"train": split(3000), "test": every}, Unprepared(binary=True), classes=CLASSES)
    data.to("cpu", torch.float64)
    return data


@pytest.fixture(scope="module")
def trained(make_trainer, train, data) -> Model:
    model = Model(Chain(FairCoins(), Table(), STEPS), Flips(), StepLikelihood())
    trainer = make_trainer(
        model,
        data,
        epochs=8,
        batch_size=100,
        optimizer=lambda parameters: torch.optim.Adam(parameters, lr=0.05),
        decay=lambda u, n: 1 - u / n,
    )
    train(trainer)
    return model


def test_importance_estimate_is_the_exact_conditional_probability(trained, data, mean_weight):
    estimate, error = mean_weight(log_weights(trained.chain, trained.process, data("test"), 2000))
    torch.testing.assert_close(estimate, exact(trained.chain).log().flatten(), atol=4.5 * float(error.max()), rtol=0)
    assert ((estimate - exact(trained.chain).log().flatten()).abs() < 4.5 * error).all()


def test_the_chain_learns_what_no_unconditional_model_can(trained):
    marginal = TRUTH.mean(0)
    unconditional = float((TRUTH * marginal.log()).sum(1).mean())
    assert float((TRUTH * exact(trained.chain).log()).sum(1).mean()) > unconditional + 0.2


def test_samples_follow_the_law_of_their_label(trained):
    n = 30_000
    labels = torch.arange(n) % CLASSES
    drawn = trained.chain.sample(n, condition=labels, source=seeded("cpu", 5)).state
    for label, law in enumerate(exact(trained.chain)):
        of_label = number(drawn[labels == label])
        frequency = of_label.bincount(minlength=len(STATES)) / len(of_label)
        assert ((frequency - law).abs() < 4 * (law * (1 - law) / len(of_label)).sqrt()).all()
