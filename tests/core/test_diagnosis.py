"""An update that goes wrong leaves everything as it was, and is replayed until it is known where the trouble begins."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from chainkit.capabilities import Distribution
from chainkit.data import Data
from chainkit.errors import NonFiniteError
from chainkit.objective import LocalObjective, Loss, Objective
from chainkit.training import Trainer
from chainkit.transition import Transition


class Spoilt(LocalObjective):
    """-log p(s_{k-1} | s_k), through a function at one step from an update on."""

    def __init__(self, spoil, step: int = 2, good: int = 0) -> None:
        super().__init__()
        self.spoil, self.step = spoil, step
        self.register_buffer("left", torch.tensor(good * 3))

    def loss(self, transition: Transition) -> Tensor:
        value = -transition.reverse.log_prob(transition.previous)
        self.left -= 1
        return self.spoil(value) if self.left < 0 and transition.k == self.step else value


def everything(trainer: Trainer) -> dict[str, Tensor]:
    return {f"{group}/{name}": value.clone() for group, tensors in trainer.state()[0].items() for name, value in tensors.items()}


def fails(trainer: Trainer) -> NonFiniteError:
    """What the first bad update says; the trainer is then as it was before that update."""
    updates = trainer.epoch_updates()
    while True:
        before, progress = everything(trainer), trainer.progress.update
        try:
            if next(updates, None) is None:
                updates = trainer.epoch_updates()
        except NonFiniteError as error:
            after = everything(trainer)
            assert after.keys() == before.keys()
            assert all(torch.equal(value, after[name]) for name, value in before.items())
            assert trainer.progress.update == progress
            assert all(parameter.grad is None for parameter in trainer.model.parameters())
            return error


def found(trainer: Trainer) -> dict:
    return fails(trainer).report["finding"]


@pytest.mark.parametrize("settings", [{}, {"accumulate": 2}, {"update": "step"}, {"update": "step", "ema": 0.9}])
def test_the_bad_update_is_taken_back_whole(affine_model, make_trainer, points, settings):
    """Running statistics, and with one update per step the weights and moments of the steps before."""
    model = affine_model(batch_norm=True, objective=Spoilt(torch.log, good=5))
    model.objective.spoil = lambda value: (value - value.max() - 1).log()
    trainer = make_trainer(model, points(64), epochs=9, batch_size=16, **settings)
    error = fails(trainer)
    assert trainer.progress.update > 0
    assert f"the loss of model is nan at update {trainer.progress.update} of epoch 1; this update was not applied" in str(error)
    assert error.report["finding"]["step"] == 2


def test_a_network_that_overflows_is_named_with_its_step_and_the_states(affine_model, make_trainer, points):
    model = affine_model()
    with torch.no_grad():
        model.chain.operator.layers[1].weight.fill_(3e38)
    error = fails(make_trainer(model, points(), epochs=1))
    finding = error.report["finding"]
    assert (finding["component"], finding["step"]) == ("chain.operator.layers.1", 2)
    assert finding["function"] == "Affine.forward"
    assert finding["operation"].startswith("aten.addmm")
    assert finding["kernel"] == ("mean",)
    assert -9 < finding["low"] < 0 < finding["high"] < 9
    assert "comes from chain.operator.layers.1 (Affine.forward, aten.addmm.default) at step k = 2" in str(error)
    assert "\n" not in str(error)


def test_a_variance_that_overflows_is_named(affine_model, make_trainer, points):
    model = affine_model()
    with torch.no_grad():
        model.chain.operator.log_variance[2] = 100.0
    finding = found(make_trainer(model, points(), epochs=1))
    assert (finding["component"], finding["step"], finding["kernel"]) == ("chain.operator", 3, ("variance",))
    assert finding["operation"].startswith("aten.exp")


def test_a_density_that_is_not_finite_is_named_with_its_function(affine_model, make_trainer, points):
    model = affine_model()
    with torch.no_grad():
        model.chain.operator.log_variance[0] = -100.0
    finding = found(make_trainer(model, points(), epochs=1))
    assert (finding["component"], finding["step"], finding["kernel"]) == ("objective", 1, ())
    assert finding["function"] == "_GaussianLogDensity.forward"


def test_infinities_that_do_not_reach_the_loss_are_not_named(affine_model, make_trainer, points):
    def spoil(value: Tensor) -> Tensor:
        masked = torch.where(value < float("inf"), value, torch.zeros_like(value).log())
        return masked / (masked - masked)

    finding = found(make_trainer(affine_model(objective=Spoilt(spoil)), points(), epochs=1))
    assert (finding["component"], finding["step"]) == ("objective", 2)
    assert finding["operation"].startswith("aten.div")


class Kinked(Objective):
    """A finite loss whose gradient is not: the square root at zero."""

    def losses(self, chain, process, batch, *, source=None) -> Iterator[Loss]:
        yield Loss(value=chain.operator(batch.origin, 3).at().mean.square().mean())
        chain.operator(batch.origin, 1)
        yield Loss(value=(chain.operator.layers[0].weight * 0).sum().sqrt())


@pytest.mark.parametrize("update", ["walk", "step"])
def test_a_gradient_that_is_not_finite_is_named_by_its_parameter(affine_model, make_trainer, points, update):
    error = fails(make_trainer(affine_model(objective=Kinked()), points(), epochs=1, update=update))
    finding = error.report["finding"]
    assert str(error).startswith("the gradient of model has norm nan at update 0")
    assert (finding["gradient"], finding["step"]) == ("chain.operator.layers.0.weight", 1)


def test_a_parameter_that_an_update_makes_infinite_is_neither_trained_nor_saved(affine_model, make_trainer, points):
    trainer = make_trainer(affine_model(), points(64), epochs=4, batch_size=16, optimizer=lambda p: torch.optim.SGD(p, lr=3e38))
    next(trainer.epoch_updates())
    for attempt in (trainer.state, lambda: next(trainer.epoch_updates())):
        with pytest.raises(NonFiniteError, match=r"model is (inf|nan|not finite) at update 1 of epoch 0") as caught:
            attempt()
        assert caught.value.report["finding"]["function"] == "not finite since an earlier update"
        assert caught.value.report["finding"]["component"].startswith("chain.operator.")


def test_data_that_is_not_finite_is_named(affine_model, make_trainer):
    values = torch.zeros(64, 2)
    values[7, 1] = float("nan")
    finding = found(make_trainer(affine_model(), Data.of(values), epochs=1, batch_size=64))
    assert finding["component"] == "data"
    assert finding["step"] is None


def test_rows_at_different_steps_are_told_apart(affine_model, make_trainer, points):
    class Stacked(Objective):
        def losses(self, chain, process, batch, *, source=None) -> Iterator[Loss]:
            k = torch.arange(len(batch)) % 3 + 1
            yield Loss(value=chain.operator(batch.origin, k).at().mean.mean())

    model = affine_model(objective=Stacked())
    operator = model.chain.operator

    def forward(state: Tensor, k: Tensor, condition: object = None) -> Distribution:
        rates = torch.tensor([1.0, 2.0, 0.0])[k - 1]
        return type(operator).forward(operator, state / rates[:, None], 1)

    operator.forward = forward
    finding = found(make_trainer(model, points(), epochs=1, batch_size=12))
    assert finding["step"] == 3
    assert finding["operation"].startswith("aten.div")


def test_trouble_that_does_not_come_back_is_said_to_be_the_machines(affine_model, make_trainer, points):
    times = iter([float("nan")])
    model = affine_model(objective=Spoilt(lambda value: value * next(times, 1.0)))
    error = fails(make_trainer(model, points(), epochs=1))
    assert error.report["finding"] is None
    assert "replayed, all of it was finite: the machine or a part does not repeat itself" in str(error)
