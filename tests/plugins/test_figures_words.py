"""What pictures say about themselves, for those who do not see them."""

from __future__ import annotations

import io
import json

import pytest
import torch
from PIL import Image

import chainkit
from chainkit.chain import Samples
from chainkit.curve import Curve
from chainkit.run_record import read_record
from chainkit_figures.curves import drawn_curves
from chainkit_figures.draw import pictures
from chainkit_figures.training import training_curves


@pytest.mark.parametrize(
    ("shape", "words"),
    [((1, 8, 8), "as a grid of images"), ((2,), "beside the data on the left"), ((20,), "one row of pixels for each")],
)
def test_pictures_of_samples_say_how_many_of_what_after_how_many_steps(shape, words):
    path = [torch.rand(12, *shape, generator=torch.Generator().manual_seed(k)) for k in range(6)]
    drawn = pictures(Samples(state=path[-1], mean=path[-1], path=path, steps=5), chainkit.Data.of(torch.rand(30, *shape)))
    assert drawn["samples"].title == "Samples after 5 steps"
    assert drawn["samples"].words.startswith("12 samples that a chain of 5 steps drew, imitating tensors, ")
    assert words in drawn["samples"].words
    assert len({picture.words for picture in drawn.values()}) == len(drawn)


def test_a_picture_keeps_its_words_in_its_file(tmp_path):
    state = torch.rand(4, 1, 8, 8)
    samples = Samples(state=state, mean=None, path=[], steps=1)
    picture = pictures(samples, chainkit.Data.of(torch.rand(30, 1, 8, 8)))["samples"]
    picture.words += " Größe ≤ 1"
    picture.save(tmp_path / "samples.png")
    texts = Image.open(tmp_path / "samples.png").text
    assert (texts["Title"], texts["Description"]) == ("Samples after 1 step", picture.words)


def test_a_notebook_shows_a_picture():
    samples = Samples(state=torch.rand(4, 1, 8, 8), mean=None, path=[], steps=1)
    picture = pictures(samples, chainkit.Data.of(torch.rand(30, 1, 8, 8)))["samples"]
    shown = Image.open(io.BytesIO(picture._repr_png_()))
    assert (shown.format, shown.text["Description"]) == ("PNG", picture.words)


def test_a_curve_is_told_by_its_ends(estimate):
    curve = Curve(name="walks", x="number of walks", y="log p(x)", unit="nats", points=((1, -3.0, 0.5), (10, -2.0, 0.1)), scale="log")
    picture = drawn_curves([estimate(0.0, curves=(curve,)), estimate(0.0, name="second", curves=(curve,))])["walks"]
    assert picture.title == "Log p(x) by number of walks"
    told = "log p(x) in nats, by number of walks, from -3.00 at 1 to -2.00 at 10."
    named = [f"Curve of {name}, 100 test examples: {told}" for name in ("lower bound", "second")]
    assert picture.words == " ".join(named)


def test_the_curve_of_training_is_told_by_its_ends(kept):
    lines = [{"update": 50, "epoch": 1, "loss": 2.5}, {"update": 100, "epoch": 2, "loss": 0.5}]
    metrics = "".join(json.dumps(line) + "\n" for line in lines)
    picture = training_curves(read_record(kept("run", **{"metrics.jsonl": metrics})))
    assert picture.words == "Curves of what was logged while training: loss from 2.50 at update 50 to 0.50 at update 100."


def test_a_notebook_is_told_what_data_examples_and_figures_are(estimate):
    data = chainkit.Data.of(torch.rand(30, 1, 8, 8), test=torch.rand(5, 1, 8, 8))
    assert repr(data) == "<Data tensors: 30 train, 5 test examples of shape 1x8x8, as it is>"
    assert repr(data("test")) == "<5 test examples of tensors, seed 0>"
    assert repr(estimate(-12.3456, 0.5)) == "<Estimate lower bound: -12.346 ± 0.5 nats, 100 test examples>"
    assert repr(estimate(2.0, None)) == "<Estimate lower bound: 2 nats, 100 test examples>"


def test_states_of_a_way_are_named_by_their_steps():
    path = [torch.rand(4, 1, 8, 8) for _ in range(3)]
    samples = Samples(state=path[-1], mean=None, path=path, steps=100, kept=(100, 50, 0))
    strip = pictures(samples, chainkit.Data.of(torch.rand(30, 1, 8, 8)), names=("chain",))["chain"].axes[0]
    assert [label.get_text() for label in strip.get_xticklabels()] == ["$s_{100}$", "$s_{50}$", "$s_{0}$"]
