"""The training loop: exact resume, one order of data, updates where they are due, memory that does not grow with K."""

from __future__ import annotations

import os
import signal
import weakref
from collections.abc import Iterator
from itertools import islice

import attrs
import pytest
import torch
from torch import Tensor, nn

from chainkit.build import Model
from chainkit.bundle import read_bundle, write_bundle
from chainkit.errors import CheckpointError, Interrupted, NonFiniteError, PluginError, RecipeError
from chainkit.interrupt import handling_signals, poll
from chainkit.objective import LocalObjective, Loss, Objective, PathBound
from chainkit.training import LOOK_AFTER_EVERY, Trainer, load_tensors, module_tensors


def advance(trainer: Trainer, updates: int) -> list[float]:
    """Makes so many updates, across epochs."""
    losses: list[float] = []
    while len(losses) < updates and not trainer.done:
        losses += islice(trainer.epoch_updates(), updates - len(losses))
    return losses


def copies(trainer: Trainer) -> dict[str, Tensor]:
    """All tensors of a trainer's state, by group and name."""
    return {f"{group}/{name}": value.clone() for group, tensors in trainer.state()[0].items() for name, value in tensors.items()}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"update": "step"},
        {"ema": 0.9},
        {"accumulate": 3},
        {"precision": "bfloat16"},
        {"clip_norm": 0.1, "decay": lambda update, updates: 1 / (1 + update)},
        {"update": "step", "ema": 0.5, "precision": "bfloat16", "clip_norm": 1.0},
    ],
    ids=["walk", "step", "ema", "accumulate", "bfloat16", "clipped", "together"],
)
@pytest.mark.parametrize("cut", [1, 4, 6])
def test_resumed_training_is_bitwise_the_uninterrupted_one(affine_model, make_trainer, points, tmp_path, settings, cut):
    def fresh(seed: int) -> Trainer:
        return make_trainer(affine_model(batch_norm=True, seed=seed), points(64), epochs=6, batch_size=16, **settings)

    first = fresh(seed=0)
    advance(first, cut)
    write_bundle(tmp_path / "state", *first.state())
    expected = advance(first, 5)

    second = fresh(seed=1)
    second.restore(*read_bundle(tmp_path / "state"))
    assert advance(second, 5) == expected
    assert second.progress == first.progress
    found = copies(second)
    assert all(torch.equal(value, found[name]) for name, value in copies(first).items())


def test_restoring_takes_copies(affine_model, make_trainer, points):
    first, second = (make_trainer(affine_model(seed=seed), points(), epochs=3, batch_size=16, ema=0.5) for seed in range(2))
    advance(first, 3)
    second.restore(*first.state())
    before = copies(first)
    advance(second, 3)
    assert all(torch.equal(value, before[name]) for name, value in copies(first).items())


@pytest.mark.parametrize("update", ["walk", "step"])
def test_training_neither_uses_nor_moves_the_global_generator(affine_model, make_trainer, points, update):
    results = []
    for seed in range(2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        trainer = make_trainer(affine_model(), points(), epochs=2, batch_size=16, update=update)
        results.append(advance(trainer, 5))
        assert torch.equal(before, torch.get_rng_state())
    assert results[0] == results[1]


def test_seeds_give_different_draws(affine_model, make_trainer, points):
    first, second = (advance(make_trainer(affine_model(), points(), seed=seed, epochs=1), 1) for seed in range(2))
    assert first != second


class Squares(Objective):
    """A loss without draws, that writes down which examples it saw; metrics beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[list[int]] = []

    def losses(self, chain, process, batch, *, source=None) -> Iterator[Loss]:
        self.seen.append(batch.index.tolist())
        mean = chain.operator(batch.origin, 1).at().mean
        yield Loss(value=mean.square().mean(), metrics={"norm": mean.norm(), "examples": torch.tensor(float(len(batch)))})


def test_accumulated_gradients_are_those_of_one_large_batch(affine_model, make_trainer, points):
    weights, losses = [], []
    for settings in ({"batch_size": 32}, {"batch_size": 8, "accumulate": 4}):
        model = affine_model(dtype=torch.float64, objective=Squares())
        trainer = make_trainer(model, points(96, dtype=torch.float64), epochs=2, **settings)
        losses.append(advance(trainer, 6))
        assert trainer.done
        weights.append(module_tensors(model))
    torch.testing.assert_close(*losses, rtol=1e-12, atol=1e-12)
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], rtol=1e-9, atol=1e-12)


def test_the_last_update_of_an_epoch_takes_the_batches_that_are_left(affine_model, make_trainer, points, train):
    trainer = make_trainer(affine_model(objective=Squares()), points(50), epochs=2, batch_size=10, accumulate=3)
    assert trainer.total_updates == 4
    assert len(train(trainer)) == 4
    assert len(trainer.model.objective.seen) == 10
    assert trainer.progress.epoch == 2


def orders(trainer: Trainer) -> list[list[int]]:
    while not trainer.done:
        list(trainer.epoch_updates())
    return [example for batch in trainer.model.objective.seen for example in batch]


def test_the_order_of_the_data_depends_on_seed_and_epoch_alone(affine_model, make_trainer, points):
    def order(**settings) -> list[int]:
        settings = {"epochs": 2, "batch_size": 16, **settings}
        return orders(make_trainer(affine_model(objective=Squares()), points(64), **settings))

    reference = order()
    first, second = reference[:64], reference[64:]
    assert sorted(first) == sorted(second) == list(range(64))
    assert first != second
    for other in ({"batch_size": 8}, {"accumulate": 2}, {"ema": 0.9}, {"update": "step"}, {"precision": "bfloat16"}):
        assert order(**other) == reference
    assert order(seed=1) != reference


def test_an_epoch_drops_what_fills_no_batch_and_a_small_split_is_one_batch(affine_model, make_trainer, points):
    trainer = make_trainer(affine_model(objective=Squares()), points(50), epochs=1, batch_size=16)
    assert trainer.batches_per_epoch == 3
    assert len(set(orders(trainer))) == 48
    small = make_trainer(affine_model(objective=Squares()), points(5), epochs=1, batch_size=16)
    assert sorted(orders(small)) == list(range(5))


def test_training_stops_after_so_many_updates_also_within_an_epoch(affine_model, make_trainer, points):
    trainer = make_trainer(affine_model(), points(64), epochs=5, batch_size=16, max_updates=6)
    assert trainer.total_updates == 6
    assert len(advance(trainer, 100)) == 6
    assert trainer.done
    assert (trainer.progress.epoch, trainer.progress.position) == (1, 2)


def test_no_epochs_make_no_updates(affine_model, make_trainer, points):
    assert make_trainer(affine_model(), points(64), epochs=0).done


class CountedSGD(torch.optim.SGD):
    def __init__(self, parameters: list[nn.Parameter]) -> None:
        super().__init__(parameters, lr=0.1)
        self.rates: list[float] = []

    def step(self, closure=None):
        self.rates.append(self.param_groups[0]["lr"])
        return super().step(closure)


@pytest.mark.parametrize(("update", "per_walk"), [("walk", 1), ("step", 4)])
def test_updates_come_per_walk_or_per_step(affine_model, make_trainer, points, update, per_walk):
    trainer = make_trainer(affine_model(steps=4), points(64), epochs=1, batch_size=16, update=update, optimizer=CountedSGD)
    advance(trainer, 3)
    assert len(trainer.optimisers.optimizers["model"].rates) == 3 * per_walk
    assert trainer.progress.update == 3
    assert trainer.model.chain.operator.evaluations == 3 * 4


class Insisting(LocalObjective):
    """States for every step whether an update follows."""

    def loss(self, transition) -> Tensor:
        return -transition.reverse.log_prob(transition.previous)

    def losses(self, chain, process, batch, *, source=None) -> Iterator[Loss]:
        for transition in self.transitions(chain, process, batch, source):
            yield Loss(value=self.loss(transition).mean(), update=transition.k == 2)


@pytest.mark.parametrize("update", ["walk", "step"])
def test_a_loss_may_say_itself_whether_an_update_follows(affine_model, make_trainer, points, update):
    trainer = make_trainer(affine_model(steps=3, objective=Insisting()), points(64), epochs=1, update=update, optimizer=CountedSGD)
    advance(trainer, 1)
    assert len(trainer.optimisers.optimizers["model"].rates) == 2  # after step 2, and what is left at the end


def test_the_loss_of_an_update_is_the_sum_over_steps(affine_model, make_trainer, points):
    walk, step = (
        make_trainer(affine_model(steps=4), points(64), epochs=1, update=update, optimizer=lambda p: torch.optim.SGD(p, lr=0.0))
        for update in ("walk", "step")
    )
    assert advance(walk, 1) == pytest.approx(advance(step, 1))
    assert walk.progress.loss == pytest.approx(step.progress.loss)


def test_the_decay_multiplies_the_rate_of_every_update(affine_model, make_trainer, points):
    trainer = make_trainer(
        affine_model(), points(64), epochs=2, batch_size=16, optimizer=CountedSGD, decay=lambda update, updates: 1 - update / updates
    )
    advance(trainer, 8)
    expected = [0.1 * (1 - update / 8) for update in range(8)]
    assert trainer.optimisers.optimizers["model"].rates == pytest.approx(expected)


def test_accumulation_with_one_update_per_step_is_refused(affine_model, make_trainer, points):
    with pytest.raises(RecipeError, match=r"train\.accumulate: 2 batches"):
        make_trainer(affine_model(), points(), update="step", accumulate=2)


def test_an_objective_with_updates_of_its_own_is_not_accumulated(affine_model, make_trainer, points):
    """Each would be made with a part of the gradient."""

    def trainer(accumulate: int) -> Trainer:
        return make_trainer(affine_model(objective=Insisting()), points(64), epochs=1, batch_size=16, accumulate=accumulate)

    assert len(advance(trainer(1), 4)) == 4
    refused = trainer(2)
    before = copies(refused)
    with pytest.raises(RecipeError, match=r"train\.accumulate: 2 batches need an objective that asks for no updates"):
        advance(refused, 1)
    assert all(torch.equal(value, before[name]) for name, value in copies(refused).items())


class Silent(Objective):
    """Yields nothing."""

    def losses(self, chain, process, batch, *, source=None) -> Iterator[Loss]:
        yield from ()


def test_an_objective_without_a_loss_is_named(affine_model, make_trainer, points):
    trainer = make_trainer(affine_model(objective=Silent()), points(), epochs=1)
    with pytest.raises(PluginError, match="objective: Silent yields no loss"):
        advance(trainer, 1)
    assert trainer.progress.update == 0


class Sampling(Squares):
    """Samples from the chain after its first loss, which stops where a signal came."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("batches", torch.zeros(()))

    def losses(self, chain, process, batch, *, source=None) -> Iterator[Loss]:
        self.batches += 1
        yield from super().losses(chain, process, batch, source=source)
        if self.batches == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        chain.sample(2, source=source)


@pytest.mark.parametrize("update", ["walk", "step"])
def test_a_signal_within_an_update_waits_for_its_end(affine_model, make_trainer, points, update):
    trainer = make_trainer(affine_model(objective=Sampling()), points(64), epochs=1, batch_size=16, update=update, optimizer=CountedSGD)
    with handling_signals():
        assert len(advance(trainer, 3)) == 3
        with pytest.raises(Interrupted):
            poll()
    assert (trainer.progress.update, float(trainer.model.objective.batches)) == (3, 3)
    assert len(trainer.optimisers.optimizers["model"].rates) == 3


class Breaking(Squares):
    def __init__(self, good: int) -> None:
        super().__init__()
        self.good = good

    def losses(self, chain, process, batch, *, source=None) -> Iterator[Loss]:
        self.good -= 1
        for loss in super().losses(chain, process, batch, source=source):
            yield loss if self.good >= 0 else Loss(value=loss.value / 0)


@pytest.mark.parametrize("update", ["walk", "step"])
def test_a_loss_that_is_no_number_stops_before_its_update(affine_model, make_trainer, points, update):
    trainer = make_trainer(affine_model(objective=Breaking(2)), points(64), epochs=2, batch_size=16, ema=0.9, update=update)
    updates = trainer.epoch_updates()
    next(updates), next(updates)
    before = copies(trainer)
    with pytest.raises(NonFiniteError, match="the loss of model is inf at update 2 of epoch 0"):
        next(updates)
    assert trainer.progress.update == 2
    assert all(torch.equal(value, before[name]) for name, value in copies(trainer).items())


class Kinked(Objective):
    """A finite loss whose gradient is not: the square root at zero."""

    def losses(self, chain, process, batch, *, source=None) -> Iterator[Loss]:
        yield Loss(value=(chain.operator.layers[0].weight * 0).sum().sqrt())


def test_a_gradient_that_is_no_number_stops_before_its_update(affine_model, make_trainer, points):
    model = affine_model(objective=Kinked())
    before = {name: value.clone() for name, value in module_tensors(model).items()}
    with pytest.raises(NonFiniteError, match="gradient of model"):
        advance(make_trainer(model, points(), epochs=1), 1)
    assert all(torch.equal(value, before[name]) for name, value in module_tensors(model).items())


def test_metrics_of_losses_are_averaged_until_taken(affine_model, make_trainer, points):
    trainer = make_trainer(affine_model(objective=Squares()), points(64), epochs=2, batch_size=16, accumulate=2)
    losses = advance(trainer, 3)
    assert trainer.progress.metrics["examples"] == (6 * 16.0, 6)
    taken = trainer.progress.take()
    assert taken["examples"] == 16.0
    assert taken["loss"] == pytest.approx(sum(losses) / 3)
    assert taken["norm"] > 0
    assert trainer.progress.take() == {}


def test_the_average_is_the_exponential_one_and_is_what_is_reported(affine_model, make_trainer, points):
    trainer = make_trainer(affine_model(), points(64), epochs=2, batch_size=16, ema=0.75)
    weight = trainer.model.chain.operator.layers[0].weight
    expected = None
    for _ in range(5):
        advance(trainer, 1)
        expected = weight.detach().clone() if expected is None else 0.75 * expected + 0.25 * weight.detach()
    torch.testing.assert_close(trainer.reported.chain.operator.layers[0].weight.detach(), expected)
    assert trainer.reported is not trainer.model
    assert make_trainer(affine_model(), points()).reported is not None


def test_without_an_average_the_model_itself_is_reported(affine_model, make_trainer, points):
    trainer = make_trainer(affine_model(), points())
    assert trainer.reported is trainer.model


def test_an_abandoned_epoch_is_continued(affine_model, make_trainer, points):
    whole, halves = (make_trainer(affine_model(), points(64), epochs=1, batch_size=16) for _ in range(2))
    expected = list(whole.epoch_updates())
    assert [next(halves.epoch_updates()) for _ in range(4)] == expected
    assert list(halves.epoch_updates()) == []
    assert halves.progress == whole.progress


class Watching(LocalObjective):
    """Writes down in which type the network computes and the densities are."""

    def __init__(self) -> None:
        super().__init__()
        self.types: set[torch.dtype] = set()
        self.autocast: list[bool] = []

    def loss(self, transition) -> Tensor:
        value = -transition.reverse.log_prob(transition.previous)
        self.types.add(value.dtype)
        self.autocast.append(torch.is_autocast_enabled("cpu"))
        return value


@pytest.mark.parametrize("update", ["walk", "step"])
def test_bfloat16_is_for_the_forward_pass_of_networks_only(affine_model, make_trainer, points, update):
    model = affine_model(objective=Watching())
    outputs, backward = set(), []
    layer = model.chain.operator.layers[0]
    layer.register_forward_hook(lambda module, inputs, output: outputs.add(output.dtype))
    layer.weight.register_hook(lambda gradient: backward.append(torch.is_autocast_enabled("cpu")))
    trainer = make_trainer(model, points(), epochs=1, batch_size=16, precision="bfloat16", update=update)
    advance(trainer, 3)
    assert outputs == {torch.bfloat16}
    assert model.objective.types == {torch.float32}
    assert all(model.objective.autocast)
    assert backward == [False] * 3
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert not torch.is_autocast_enabled("cpu")


def test_bfloat16_sees_the_weights_of_the_last_update(affine_model, make_trainer, points):
    """Autocast caches its casts of the weights; with one update per step a stale one would go unnoticed."""
    trained = {}
    for precision in ("float32", "bfloat16"):
        model = affine_model(steps=6)
        model.chain.operator.layers = nn.ModuleList([model.chain.operator.layers[0]] * 6)
        trainer = make_trainer(model, points(64), epochs=4, batch_size=64, update="step", precision=precision)
        trained[precision] = advance(trainer, 4)
    torch.testing.assert_close(*map(torch.tensor, trained.values()), rtol=0.02, atol=0.02)


class Meter:
    """Bytes of saved activations that live at once, and their peak."""

    def __init__(self) -> None:
        self.live = self.peak = 0

    def pack(self, tensor: Tensor) -> Saved:
        saved, size = Saved(tensor), tensor.numel() * tensor.element_size()
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(saved, self.free, size)
        return saved

    def free(self, size: int) -> None:
        self.live -= size


class Saved:
    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def peak(model: Model, make_trainer, data, **settings) -> int:
    meter = Meter()
    trainer = make_trainer(model, data, epochs=1, batch_size=64, **settings)
    with torch.autograd.graph.saved_tensors_hooks(meter.pack, lambda saved: saved.tensor):
        advance(trainer, 1)
    assert meter.peak > 0
    return meter.peak


@pytest.mark.parametrize("settings", [{"update": "walk"}, {"update": "step"}, {"precision": "bfloat16"}], ids=["walk", "step", "bfloat16"])
def test_memory_of_a_local_objective_is_flat_in_the_chain_length(affine_model, make_trainer, points, settings):
    short, long = (peak(affine_model(steps=steps), make_trainer, points(64), **settings) for steps in (5, 50))
    assert long <= 1.1 * short + 50 * 2 * 4  # the [K, 2] table of variances is a parameter, not an activation


def test_memory_of_a_whole_path_grows_with_the_chain_length(affine_model, make_trainer, points):
    short, long = (peak(affine_model(steps=steps, objective=PathBound()), make_trainer, points(64)) for steps in (5, 50))
    assert long > 8 * short


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("weight"), "weight"),
        (lambda tensors: tensors.update(extra=torch.zeros(1)), "extra"),
        (lambda tensors: tensors.update(weight=torch.zeros(3, 2)), r"weight is \(3, 2\), not \(2, 3\)"),
        (lambda tensors: tensors.update(weight=torch.zeros(2, 3).double()), r"weight is torch\.float64, not torch\.float32"),
        (lambda tensors: tensors.update(bias=torch.zeros(3)), r"bias is \(3,\), not \(2,\)"),
    ],
)
def test_tensors_that_do_not_fit_are_refused_by_name_and_none_is_taken(change, message):
    tensors, linear = {"weight": torch.ones(2, 3), "bias": torch.ones(2)}, nn.Linear(3, 2)
    before = linear.weight.clone()
    change(tensors)
    with pytest.raises(CheckpointError, match=message):
        load_tensors(linear, tensors)
    assert torch.equal(linear.weight, before)


@pytest.mark.parametrize(
    ("broken", "error"),
    [
        (lambda groups, state: state["progress"].update(unheard=1), TypeError),
        (lambda groups, state: groups["average"].pop("n_averaged"), CheckpointError),
        (lambda groups, state: groups["optimizer"].update({"strange/0/step": torch.ones(())}), KeyError),
    ],
    ids=["progress", "average", "optimiser"],
)
def test_a_state_of_which_a_part_does_not_fit_leaves_the_model_as_it_is(broken, error, affine_model, make_trainer, points):
    first, second = (make_trainer(affine_model(seed=seed), points(), epochs=3, batch_size=16, ema=0.5) for seed in range(2))
    advance(first, 3), advance(second, 1)
    before, progress = copies(second), attrs.evolve(second.progress)
    groups, state = first.state()
    broken(groups, state)
    with pytest.raises(error):
        second.restore(groups, state)
    found = copies(second)
    assert all(torch.equal(value, found[name]) for name, value in before.items() if not name.startswith("optimizer"))
    assert second.progress == progress


def test_local_training_improves_the_likelihood(affine_model, make_trainer, points, law_of, train):
    model, data = affine_model(dtype=torch.float64), points(256, dtype=torch.float64)
    x = data.split("train").values.double()
    before = law_of(model).log_prob(x).mean()
    train(make_trainer(model, data, epochs=30, batch_size=64))
    assert law_of(model).log_prob(x).mean() > before + 0.5


def test_optimisers_are_flushed_every_so_many_updates(affine_model, make_trainer, points):
    trainer = make_trainer(affine_model(), points(), batch_size=16, epochs=2 * LOOK_AFTER_EVERY)
    advance(trainer, 1)
    [optimizer] = trainer.optimisers.optimizers.values()
    entries = next(iter(optimizer.state.values()))
    entries["seen"] = torch.full((3,), 1e-42)
    advance(trainer, LOOK_AFTER_EVERY - 1)
    assert (entries["seen"] > 0).all()
    advance(trainer, 1)
    assert (entries["seen"] == 0).all()


def test_a_parameter_that_no_loss_reaches_is_found_before_long(affine_model, make_trainer, points):
    model = affine_model()
    model.chain.operator.unused = torch.nn.Parameter(torch.zeros(3))
    trainer = make_trainer(model, points(), batch_size=16, epochs=2 * LOOK_AFTER_EVERY)
    advance(trainer, 1)
    with torch.no_grad():
        model.chain.operator.unused[1] = float("nan")
    with pytest.raises(NonFiniteError, match="a parameter of model is not finite at update"):
        trainer.state()
    with pytest.raises(NonFiniteError, match=f"a parameter of model is not finite at update {LOOK_AFTER_EVERY} ") as caught:
        advance(trainer, LOOK_AFTER_EVERY)
    assert caught.value.report["finding"]["component"] == "chain.operator.unused"


class Noting(Squares):
    """Notes how products are made."""

    def losses(self, chain, process, batch, *, source=None):
        self.products = torch.get_float32_matmul_precision()
        return super().losses(chain, process, batch, source=source)


@pytest.mark.parametrize("matmul", ["highest", "medium"])
def test_products_are_made_as_asked_while_training_only(affine_model, make_trainer, points, matmul):
    objective = Noting()
    trainer = make_trainer(affine_model(objective=objective), points(), batch_size=16, matmul=matmul)
    advance(trainer, 1)
    assert objective.products == matmul
    assert torch.get_float32_matmul_precision() == "highest"
