"""Two players with an optimiser each: the objective owns the discriminator, the chain is a one-step generator.

Both laws are Gaussian and the discriminator is quadratic, so that its optimum is known: the log
ratio of the two densities.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from chainkit.build import Model
from chainkit.bundle import read_bundle, write_bundle
from chainkit.chain import Chain
from chainkit.data import Data
from chainkit.distributions import Gaussian, Reparametrised
from chainkit.errors import RecipeError
from chainkit.kernel import Kernel, UntemperedKernel
from chainkit.objective import Loss, Objective
from chainkit.operator import TransitionOperator
from chainkit.optimisation import parameter_sets
from chainkit.prior import Prior
from chainkit.process import ForwardProcess
from chainkit.training import module_tensors
from chainkit.transition import Transition

MEAN, SPREAD = 1.0, 0.8


class Certain(Reparametrised):
    """All mass at one point: a generator has no density."""

    def __init__(self, state: Tensor) -> None:
        self.state = state

    def sample(self, source=None) -> Tensor:
        return self.state.detach()

    def rsample(self, source=None) -> Tensor:
        return self.state


class Generator(TransitionOperator):
    def __init__(self) -> None:
        super().__init__()
        self.mean, self.scale = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.ones(1))

    def forward(self, state: Tensor, k: int, condition: object = None) -> Kernel:
        return UntemperedKernel(Certain(self.mean + self.scale * state))


class Noise(Prior):
    def forward(self, rows: int) -> Gaussian:
        return Gaussian(torch.zeros(rows, 1), torch.ones(1))


class FromNoise(ForwardProcess):
    """A walk that starts from the prior and takes no notice of the data."""

    def walk(self, chain, batch, *, source=None, path_gradient=False, with_log_ratio=False) -> Iterator[Transition]:
        state = chain.prior(batch.rows).sample(source)
        for k in range(chain.steps, 0, -1):
            reverse = chain.operator(state, k).at()
            previous = reverse.rsample(source) if path_gradient else reverse.sample(source)
            yield Transition(k=k, steps=chain.steps, state=state, previous=previous, origin=batch.origin, reverse=reverse)
            state = previous


class Adversarial(Objective):
    """The discriminator learns first, the generator from the discriminator as it then is."""

    def __init__(self) -> None:
        super().__init__()
        self.discriminator = nn.Linear(2, 1)

    def parameter_sets(self) -> Mapping[str, list[nn.Parameter]]:
        return {"discriminator": list(self.discriminator.parameters())}

    def logit(self, x: Tensor) -> Tensor:
        return self.discriminator(torch.cat([x.square(), x], 1))

    def losses(self, chain, process, batch, *, source=None) -> Iterator[Loss]:
        (step,) = process.walk(chain, batch, source=source, path_gradient=True)
        real, fake = self.logit(batch.origin), self.logit(step.previous.detach())
        accuracy = 0.5 * ((real > 0).float().mean() + (fake < 0).float().mean())
        yield Loss(
            value=softplus(-real).mean() + softplus(fake).mean(), parameters="discriminator", update=True, metrics={"accuracy": accuracy}
        )
        yield Loss(value=softplus(-self.logit(step.previous)).mean(), update=True)


def game(seed: int = 0) -> Model:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Model(Chain(Noise(), Generator(), 1), FromNoise(), Adversarial())


@pytest.fixture
def data() -> Data:
    generator = torch.Generator().manual_seed(0)
    return Data.of(MEAN + SPREAD * torch.randn(4000, 1, generator=generator))


@pytest.fixture
def players(make_trainer, data):
    """Trainers of the game, with an optimiser of its own for the discriminator."""

    def make(model: Model, rate: float, **settings):
        return make_trainer(
            model,
            data,
            batch_size=200,
            optimizer=lambda parameters: torch.optim.SGD(parameters, lr=rate),
            factories={"discriminator": lambda parameters: torch.optim.Adam(parameters, lr=0.05)},
            decay=lambda update, updates: 1 - update / updates,
            **settings,
        )

    return make


def test_each_loss_reaches_and_updates_only_its_own_set(players, monkeypatch):
    model = game()
    trainer = players(model, 0.1, epochs=1)
    sets = parameter_sets(model, model.objective.parameter_sets())
    assert {name: len(parameters) for name, parameters in sets.items()} == {"model": 2, "discriminator": 2}
    applied, apply = [], trainer.optimisers.apply

    def spy(name: str, loss: Tensor) -> float:
        (other,) = set(sets) - {name}
        assert all(parameter.grad is not None for parameter in sets[name])
        assert all(parameter.grad is None for parameter in sets[other])
        before = {key: [parameter.clone() for parameter in parameters] for key, parameters in sets.items()}
        value = apply(name, loss)
        assert all((old != new).any() for old, new in zip(before[name], sets[name], strict=True))
        assert all((old == new).all() for old, new in zip(before[other], sets[other], strict=True))
        applied.append(name)
        return value

    monkeypatch.setattr(trainer.optimisers, "apply", spy)
    updates = trainer.epoch_updates()
    next(updates), next(updates)
    assert applied == ["discriminator", "model"] * 2
    assert trainer.progress.update == 2


def test_against_a_still_generator_the_discriminator_finds_the_log_density_ratio(players, train):
    model = game()
    train(players(model, 0.0, epochs=40))
    found = torch.cat([model.objective.discriminator.weight[0], model.objective.discriminator.bias]).detach()
    square, linear = 0.5 - 0.5 / SPREAD**2, MEAN / SPREAD**2
    constant = -0.5 * MEAN**2 / SPREAD**2 - torch.tensor(SPREAD).log().item()
    torch.testing.assert_close(found, torch.tensor([square, linear, constant]), atol=0.12, rtol=0)
    assert model.chain.operator.mean == 0
    assert model.chain.operator.scale == 1


def test_the_game_ends_at_the_law_of_the_data(players, train, data):
    model = game()
    trainer = players(model, 0.1, epochs=100)
    train(trainer)
    x = data.split("train").values
    assert abs(float(model.chain.operator.mean.detach() - x.mean())) < 0.1
    assert abs(float(model.chain.operator.scale.detach().abs() - x.std())) < 0.1
    total, count = trainer.progress.metrics["accuracy"]
    assert count == trainer.progress.update
    assert 0.45 < total / count < 0.6


def test_both_players_are_saved_and_restored(players, tmp_path):
    first = players(game(), 0.1, epochs=2)
    updates = first.epoch_updates()
    for _ in range(5):
        next(updates)
    write_bundle(tmp_path / "state", *first.state())
    for _ in range(5):
        next(updates)
    second = players(game(seed=1), 0.1, epochs=2)
    second.restore(*read_bundle(tmp_path / "state"))
    for _, loss in zip(range(5), second.epoch_updates(), strict=False):
        assert loss == loss
    expected, found = module_tensors(first.model), module_tensors(second.model)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert first.progress == second.progress


class Misnamed(Adversarial):
    def losses(self, chain, process, batch, *, source=None) -> Iterator[Loss]:
        yield Loss(value=self.logit(batch.origin).mean(), parameters="critic")


def test_a_loss_for_a_set_that_does_not_exist_is_refused(players):
    model = game()
    model.objective = Misnamed()
    with pytest.raises(RecipeError, match="critic"):
        next(players(model, 0.1, epochs=1).epoch_updates())
