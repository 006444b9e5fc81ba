"""``chainkit sample``: what is written of states of several tensors, and how much of a long way is kept."""

from __future__ import annotations

import attrs
import numpy
import pytest
import torch

from chainkit import run as runs
from chainkit.cli import main
from chainkit.host import load_plugins
from chainkit.reporting import Silent
from chainkit.session import Session, new_run

RECIPE = """
device = "cpu"
data = { type = "grid-3x3", n = 60 }
process = { type = "infusion" }
objective = { type = "denoising" }
train = { epochs = 1, batch_size = 30, optimizer = { type = "adam" } }
sample = { n = 4 }
[chain]
steps = 9
extend = "data-end"
prior = { type = "gaussian" }
operator = { type = "infusion-gaussian", mean = "linear", network = { type = "mlp", hidden = [4] } }
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sample")
    (folder / "recipe.toml").write_text(RECIPE)
    run = new_run(folder / "recipe.toml", folder / "run", load_plugins(disabled=("figures",)), reporter=Silent())
    Session(run).complete()
    return run.path


@pytest.mark.parametrize("place", [0, 1])
def test_of_several_tensors_the_one_like_an_example_is_written(path, tmp_path, monkeypatch, capsys, place):
    visible, draw = torch.arange(4.0).reshape(2, 2), runs.Run.sample

    def paired(self, *arguments, **keywords):
        parts = [torch.zeros(2, 5), torch.ones(2, 3, 3)]
        parts[place:place] = [visible]
        return attrs.evolve(draw(self, *arguments, **keywords), state=(parts[0], tuple(parts[1:])), mean=None, path=[], kept=())

    monkeypatch.setattr(runs.Run, "sample", paired)
    assert main(["sample", str(path), "--out", str(tmp_path / "pair.npy")]) == 0
    assert numpy.array_equal(numpy.load(tmp_path / "pair.npy"), visible.numpy())
    assert "2 samples of 9 steps" in capsys.readouterr().err


def test_hooks_are_given_a_few_states_of_a_long_way(path, monkeypatch):
    given = []
    monkeypatch.setattr(runs.Run, "tell", lambda self, hook, **arguments: given.append(arguments["samples"]))
    assert main(["sample", str(path), "--steps", "300"]) == 0
    assert main(["sample", str(path)]) == 0
    long, short = given
    assert list(long.kept) == list(range(300, -1, -5))
    assert (len(long.path), torch.equal(long.path[-1], long.state)) == (61, True)
    assert (list(short.kept), len(short.path)) == (list(range(9, -1, -1)), 10)
