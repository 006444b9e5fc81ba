"""Gradients launched as a graph are those launched one at a time; where they are not, none is used and a line says why."""

from __future__ import annotations

from functools import partial
from itertools import chain, count, islice
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from chainkit import Chain, Loss, recording
from chainkit.build import Model
from chainkit.bundle import read_bundle, write_bundle
from chainkit.errors import NonFiniteError
from chainkit.tape import Tape
from chainkit_infusion import Denoising, IncreasingRate, InfusionGaussian, InfusionProcess
from chainkit_networks import MLP
from chainkit_priors import GaussianPrior

DIM, STEPS, UPDATES = 5, 4, 5
SETTINGS = {
    "plain": {},
    "bfloat16": {"precision": "bfloat16"},
    "two batches for an update, clipped": {"accumulate": 2, "clip_norm": 0.1},
    "averaged": {"ema": 0.9},
}


class Deaf(Tape):
    """Gives what it gave when it was launched first, whatever is asked."""

    def launch(self):
        self.first = getattr(self, "first", None) or super().launch()
        return [None if result is None else result.clone() for result in self.first]


class Rounding(Tape):
    """Gives other last bits."""

    def launch(self):
        return [None if result is None else result * (1 + 1e-6) for result in super().launch()]


@pytest.fixture
def trainer(make_trainer, points, monkeypatch):
    """Makes a trainer, whose graphs are of the kind given."""

    def make(kind=None, *, graph=True, norm="per-step", batch_size=8, epochs=50, **settings):
        torch.manual_seed(0)
        prior = GaussianPrior(torch.full((DIM,), 0.5), torch.full((DIM,), 0.1))
        network = MLP((DIM,), heads=2, hidden=[8, 9], norm=norm, steps=STEPS)
        model = Model(Chain(prior, InfusionGaussian(network), STEPS), InfusionProcess(IncreasingRate(0.1, 0.1)), Denoising())
        if kind is not None:
            monkeypatch.setattr(recording, "KINDS", {"cpu": kind})
        return make_trainer(model, points(64, dim=DIM), epochs=epochs, batch_size=batch_size, graph=graph, **settings)

    return make


def left(trainer, updates=UPDATES):
    """What so many updates leave."""
    losses = list(islice(trainer.epoch_updates(), updates))
    return losses, {f"{group}/{name}": value.clone() for group, found in trainer.state()[0].items() for name, value in found.items()}


def require_equal(first, second):
    assert first[0] == second[0]
    assert first[1].keys() == second[1].keys()
    assert all(torch.equal(value, second[1][name]) for name, value in first[1].items())


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_updates_are_those_without_a_graph_bit_by_bit(trainer, settings):
    settings = {"accumulate": 1, **settings}
    plain, made = trainer(graph=False, **settings), trainer(**settings)
    count = UPDATES if settings["accumulate"] == 1 else 3
    require_equal(left(plain, count), left(made, count))
    assert made.recording.why_not is None
    assert made.recording.graphed is not None


def test_a_resumed_run_records_anew_and_goes_on_bit_by_bit(trainer, tmp_path):
    whole = trainer()
    list(islice(whole.epoch_updates(), 3))
    write_bundle(tmp_path / "state", *whole.state())
    again = trainer()
    again.restore(*read_bundle(tmp_path / "state"))
    require_equal(left(whole), left(again))
    assert again.recording.graphed is not whole.recording.graphed


def test_a_device_without_graphs_trains_as_ever_and_says_so(trainer, monkeypatch):
    monkeypatch.setattr(recording, "KINDS", {})
    plain, asked = left(trainer(graph=False)), trainer()
    require_equal(plain, left(asked))
    assert asked.recording.why_not == "there are no graphs on cpu"


def test_a_graph_that_gives_other_numbers_is_not_used(trainer):
    plain, asked = left(trainer(graph=False)), trainer(Deaf)
    require_equal(plain, left(asked))
    assert "depends on what else is evaluated" in asked.recording.why_not


def test_a_tape_that_gives_other_last_bits_is_not_used(trainer):
    plain, asked = left(trainer(graph=False)), trainer(Rounding)
    require_equal(plain, left(asked))
    assert asked.recording.why_not == "the loss differs in its last bits"


def test_steps_that_are_trained_one_at_a_time_are_recorded_with_their_ways_back(trainer):
    asked = trainer(norm="shared")
    require_equal(left(trainer(graph=False, norm="shared")), left(asked))
    assert asked.one_by_one is not None
    assert asked.recording.why_not is None


def test_updates_within_a_walk_have_no_graph(trainer):
    asked = trainer(update="step")
    require_equal(left(trainer(graph=False, update="step")), left(asked))
    assert asked.recording.why_not == "an update follows every step"


class Replacing(nn.Module):
    """Counts in a buffer that is another tensor every time."""

    def __init__(self, operator):
        super().__init__()
        self.operator = operator
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, *arguments):
        self.seen = self.seen + 1
        return self.operator(*arguments)


def test_a_buffer_that_a_graph_would_not_move_is_found(trainer):
    def made(graph):
        found = trainer(graph=graph, norm="shared")
        found.model.chain.operator = Replacing(found.model.chain.operator)
        return found

    asked = made(True)
    require_equal(left(made(False)), left(asked))
    assert "what becomes of chain.operator.seen" in asked.recording.why_not


class Told(Denoising):
    """Tells with every loss how large the states are."""

    def losses(self, chain, process, batch, *, source=None):
        for transition in process.walk(chain, batch, source=source):
            yield Loss(value=self.loss(transition).mean(), metrics={"size of states": transition.state.abs().mean()})


def test_what_comes_with_losses_is_told_with_a_graph_too(trainer):
    def made(graph):
        found = trainer(graph=graph)
        found.model.objective = Told()
        list(islice(found.epoch_updates(), UPDATES))
        return found

    plain, asked = made(False), made(True)
    assert asked.recording.why_not is None
    assert asked.progress.take()["size of states"] == pytest.approx(plain.progress.take()["size of states"], rel=1e-6)


def test_what_goes_wrong_while_recording_is_said(trainer):
    class Broken(Tape):
        def record(self, function):
            raise RuntimeError("operation not permitted when stream is capturing")

    plain, asked = left(trainer(graph=False)), trainer(Broken)
    require_equal(plain, left(asked))
    assert asked.recording.why_not == "RuntimeError: operation not permitted when stream is capturing"


def test_a_loss_that_is_not_finite_is_found_and_nothing_updated(trainer):
    made = trainer()
    list(islice(made.epoch_updates(), 2))
    before = left(made, 0)[1]
    made.data.split("train").values[:] = float("nan")
    with pytest.raises(NonFiniteError):
        next(made.epoch_updates())
    after = {f"{group}/{name}": value for group, found in made.state()[0].items() for name, value in found.items()}
    assert all(torch.equal(value, after[name]) for name, value in before.items())


class Counting(nn.Module):
    """Counts what it evaluates, and heeds the count."""

    def __init__(self, operator):
        super().__init__()
        self.operator = operator
        self.calls = 0

    def forward(self, state, k, condition=None):
        self.calls += 1
        return self.operator(state if self.calls < 50 else 0.5 * state, k, condition)


def test_python_that_counts_is_not_frozen(trainer):
    def made(graph):
        found = trainer(graph=graph, norm="shared")
        found.model.chain.operator = Counting(found.model.chain.operator)
        return found

    asked = made(True)
    require_equal(left(made(False)), left(asked))
    assert asked.recording.why_not == "chain.operator.calls changes from update to update"


def test_an_attribute_that_is_changed_between_updates_is_heeded(trainer):
    def annealed(graph):
        made = trainer(graph=graph)
        first = list(islice(made.epoch_updates(), 3))
        recorded = made.recording.graphed is not None
        made.model.process.near = made.model.process.near.__class__(0.5)
        return made, recorded, (first + (after := left(made))[0], after[1])

    (_, _, plain), (asked, recorded, found) = annealed(False), annealed(True)
    assert recorded
    require_equal(plain, found)
    assert asked.recording.why_not == "process.near has changed since an update was recorded"


def test_parameters_that_move_in_memory_are_read_where_they_are(trainer):
    """As of an optimiser that sets ``parameter.data`` instead of writing into it."""

    def moved(graph):
        made = trainer(graph=graph)
        first = list(islice(made.epoch_updates(), 2))
        for parameter in made.model.parameters():
            parameter.data = parameter.data - 0.1
        after = left(made)
        return made, (first + after[0], after[1])

    (_, plain), (asked, found) = moved(False), moved(True)
    require_equal(plain, found)
    assert "has changed since an update was recorded" in asked.recording.why_not


UNASKED = {"steady": True, "graph": None, "batch_size": 4, "epochs": 100}


@pytest.mark.parametrize(
    ("changed", "why_not"),
    [
        ({}, None),
        ({"steady": False}, "not all parts of the model state that they are steady"),
        ({"max_updates": 1001}, "fewer than 1000 updates are left"),
        ({"max_updates": 1002}, None),
        ({"graph": False}, "none is wanted"),
        ({"seconds": 2.1}, "an update takes more than 2 s"),
        ({"seconds": 1.9}, None),
    ],
)
def test_unasked_a_graph_is_recorded_where_it_pays_and_is_known_to_be_safe(changed, why_not, trainer, monkeypatch):
    seconds = changed.pop("seconds", 0.0)
    began = chain((0.0, 10.0), count(10.0 + seconds))  # the first update waits for much that is done once
    monkeypatch.setattr(recording, "time", SimpleNamespace(monotonic=lambda: next(began)))
    made = trainer(**(UNASKED | changed))
    left(made)
    assert made.recording.why_not == why_not
    assert (made.recording.graphed is None) == (why_not is not None)


def test_unasked_a_device_with_graphs_of_a_kind_that_must_be_asked_for_gets_none(trainer, monkeypatch):
    monkeypatch.setattr(recording, "UNASKED", {})
    made = trainer(**UNASKED)
    left(made)
    assert made.recording.why_not == "there are no graphs on cpu"


def test_unasked_a_graph_does_not_grow_without_limit(trainer, monkeypatch):
    monkeypatch.setattr(recording, "UNASKED", {"cpu": partial(Tape, most=100)})
    plain, made = left(trainer(**UNASKED | {"graph": False})), trainer(**UNASKED)
    require_equal(plain, left(made))
    assert made.recording.why_not == "an update has more than 100 operations"
    assert left(asked := trainer(**UNASKED | {"graph": True}))
    assert asked.recording.graphed is not None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_on_cuda_a_graph_is_used_and_agrees(trainer, precision):
    def trained(graph):
        made = trainer(graph=graph, precision=precision, device="cuda")
        made.model.cuda()
        made.data.to("cuda")
        return made, left(made)

    (_, plain), (made, found) = trained(False), trained(True)
    assert made.recording.why_not is None
    assert found[0] == pytest.approx(plain[0], rel=1e-5)
