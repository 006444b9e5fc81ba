"""Gradients launched as a graph are those launched one at a time; where they are not, none is used and a line says why.

On a machine without CUDA a stand-in is recorded: it does again what it was given, in the same places.
"""

from __future__ import annotations

from contextlib import nullcontext
from itertools import islice

import pytest
import torch

from chainkit import Chain, graphs
from chainkit.build import Model
from chainkit.bundle import read_bundle, write_bundle
from chainkit.errors import NonFiniteError
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


class Repeated:
    """Does again what was recorded and leaves results where they were left before."""

    def __init__(self, device, parameters):
        self.generator = torch.Generator(device)
        self.parameters = parameters

    def aside(self):
        return nullcontext()

    def record(self, function):
        self.function = function
        self.result = function()
        self.gradients = [parameter.grad for parameter in self.parameters]
        return self.result

    def launch(self):
        kept = [parameter.grad for parameter in self.parameters]
        for parameter in self.parameters:
            parameter.grad = None
        self.result.copy_(self.function())
        for parameter, gradient, before in zip(self.parameters, self.gradients, kept, strict=True):
            if gradient is not None:
                gradient.copy_(parameter.grad)
            parameter.grad = before


class Deaf(Repeated):
    """Does what it did when it was recorded, whatever is asked."""

    def launch(self):
        pass


@pytest.fixture
def trainer(make_trainer, points, monkeypatch):
    """Makes a trainer, whose graphs are of the kind given."""

    def make(kind=None, *, graph=True, norm="per-step", **settings):
        torch.manual_seed(0)
        prior = GaussianPrior(torch.full((DIM,), 0.5), torch.full((DIM,), 0.1))
        network = MLP((DIM,), heads=2, hidden=[8, 9], norm=norm, steps=STEPS)
        model = Model(Chain(prior, InfusionGaussian(network), STEPS), InfusionProcess(IncreasingRate(0.1, 0.1)), Denoising())
        if kind is not None:
            monkeypatch.setattr(graphs, "KINDS", {"cpu": lambda device: kind(device, list(model.parameters()))})
        return make_trainer(model, points(64, dim=DIM), epochs=50, batch_size=8, graph=graph, **settings)

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
    plain, made = trainer(graph=False, **settings), trainer(Repeated, **settings)
    count = UPDATES if settings["accumulate"] == 1 else 3
    require_equal(left(plain, count), left(made, count))
    assert made.ungraphed is None
    assert made._recorded is not None


def test_a_resumed_run_records_anew_and_goes_on_bit_by_bit(trainer, tmp_path):
    whole = trainer(Repeated)
    list(islice(whole.epoch_updates(), 3))
    write_bundle(tmp_path / "state", *whole.state())
    again = trainer(Repeated)
    again.restore(*read_bundle(tmp_path / "state"))
    require_equal(left(whole), left(again))
    assert again._recorded is not whole._recorded


@pytest.mark.skipif(torch.cuda.is_available(), reason="the tests' own device has graphs")
def test_a_device_without_graphs_trains_as_ever_and_says_so(trainer):
    plain, asked = left(trainer(graph=False)), trainer()
    require_equal(plain, left(asked))
    assert asked.ungraphed == "a graph needs a CUDA device, and this one is cpu"


def test_a_graph_that_gives_other_numbers_is_not_used(trainer):
    plain, asked = left(trainer(graph=False)), trainer(Deaf)
    require_equal(plain, left(asked))
    assert "depends on what else is evaluated" in asked.ungraphed


def test_steps_that_are_trained_one_at_a_time_have_no_graph(trainer):
    asked = trainer(Repeated, norm="shared")
    require_equal(left(trainer(graph=False, norm="shared")), left(asked))
    assert asked.ungraphed.startswith("steps are trained one at a time (")


def test_what_goes_wrong_while_recording_is_said(trainer):
    class Broken(Repeated):
        def record(self, function):
            raise RuntimeError("operation not permitted when stream is capturing")

    plain, asked = left(trainer(graph=False)), trainer(Broken)
    require_equal(plain, left(asked))
    assert asked.ungraphed == "RuntimeError: operation not permitted when stream is capturing"


def test_a_loss_that_is_not_finite_is_found_and_nothing_updated(trainer):
    made = trainer(Repeated)
    list(islice(made.epoch_updates(), 2))
    before = left(made, 0)[1]
    made.data.split("train").values[:] = float("nan")
    with pytest.raises(NonFiniteError):
        next(made.epoch_updates())
    after = {f"{group}/{name}": value for group, found in made.state()[0].items() for name, value in found.items()}
    assert all(torch.equal(value, after[name]) for name, value in before.items())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_on_cuda_a_graph_is_used_and_agrees(trainer, precision):
    def trained(graph):
        made = trainer(graph=graph, precision=precision, device="cuda")
        made.model.cuda()
        made.data.to("cuda")
        return made, left(made)

    (_, plain), (made, found) = trained(False), trained(True)
    assert made.ungraphed is None
    assert found[0] == pytest.approx(plain[0], rel=1e-5)
