"""The datasets that need no download."""

import itertools
import math
import subprocess
import sys

import attrs
import pytest
import torch

from chainkit.capabilities import BinaryStates, ImageStates, Labelled, RealStates
from chainkit.component import Context
from chainkit.errors import MissingPackage
from chainkit.packages import imported
from chainkit_datasets.configs import DigitsConfig
from chainkit_datasets.drawn_configs import HeartbeatConfig
from chainkit_datasets.hooks import chainkit_datasets
from chainkit_datasets.patches import COLUMNS, photographs
from chainkit_datasets.plane import ROLL, roll_moments

COMPONENTS = {component.name: component for component in chainkit_datasets()}
DRAWN = ["swiss-roll", "spiral", "circle", "grid-3x3", "heartbeat", "patches"]


def build(name, **settings):
    component = COMPONENTS[name]
    return component.make(component.config(**settings), Context())


def small(name, **settings):
    return build(name, n=50, valid=20, test=10, **settings)


def all_values(data):
    return torch.cat([split.values for split in data.splits.values()])


@pytest.mark.parametrize("name", ["digits", *DRAWN])
def test_what_a_component_promises_is_what_it_builds(name):
    component = COMPONENTS[name]
    config = component.config(**component.example)
    data = component.make(config, Context())
    assert set(component.provided(config)) == set(data.provided())
    assert data.name == name


@pytest.mark.parametrize("name", COMPONENTS)
def test_every_key_is_documented(name):
    config = COMPONENTS[name].config
    for field in attrs.fields(config):
        assert f"        {field.name}: " in config.__doc__


@pytest.mark.parametrize("name", DRAWN)
def test_drawn_splits_have_their_sizes_and_repeat_with_their_seed(name):
    data = small(name)
    assert {split: len(content) for split, content in data.splits.items()} == {"train": 50, "valid": 20, "test": 10}
    assert torch.equal(all_values(data), all_values(small(name)))
    assert not torch.equal(all_values(data), all_values(small(name, seed=1)))


@pytest.mark.parametrize("name", ["swiss-roll", "spiral", "circle", "grid-3x3", "patches"])
def test_no_example_is_in_two_splits(name):
    values = all_values(small(name)).flatten(1)
    assert len(values.unique(dim=0)) == len(values)


def test_a_split_of_no_examples_is_left_out():
    assert set(build("circle", n=5, valid=0, test=0).splits) == {"train"}


def test_digits_are_scikit_learns_and_their_splits_are_disjoint_and_complete():
    from sklearn.datasets import load_digits

    data = build("digits")
    assert {split: len(content) for split, content in data.splits.items()} == {"train": 1397, "valid": 200, "test": 200}
    assert data.shape == (1, 8, 8)
    assert all_values(data).dtype == torch.uint8
    assert all_values(data).max() == 16
    rows = torch.cat([torch.cat([split.values.flatten(1), split.labels[:, None]], dim=1) for split in data.splits.values()])
    source = load_digits()
    official = torch.cat([torch.tensor(source.data), torch.tensor(source.target)[:, None]], dim=1).long()
    assert sorted(rows.long().tolist()) == sorted(official.tolist())


def test_digits_split_by_their_seed():
    assert torch.equal(build("digits").split("test").values, build("digits").split("test").values)
    assert not torch.equal(build("digits").split("test").values, build("digits", seed=1).split("test").values)


def test_digits_in_model_units_lie_in_the_unit_interval_and_have_bins_of_a_seventeenth():
    data = build("digits", scale=17, dequantize=True)
    values = data.batch("train", torch.arange(1397), torch.Generator().manual_seed(0)).origin
    assert values.min() >= 0
    assert values.max() <= 1
    assert data.preparation.bin_width == 1 / 17
    assert data.preparation.words == "scaled by 1/17, uniform noise of width 1/17"
    assert build("digits").preparation.words == "scaled by 1/16"


def test_labels_condition_only_where_they_are_wanted():
    index = torch.arange(5)
    labelled, plain = build("digits", labels=True), build("digits")
    assert labelled.classes == 10
    assert torch.equal(labelled.batch("train", index, None).condition, labelled.split("train").labels[:5])
    assert Labelled in labelled.provided()
    assert plain.classes is None
    assert plain.batch("train", index, None).condition is None


def test_more_held_out_digits_than_there_are_is_refused():
    with pytest.raises(ValueError, match="leaves no training examples"):
        DigitsConfig(valid=1000, test=797)


@pytest.mark.parametrize("noise", [0.0, 0.7])
def test_the_swiss_rolls_moments_are_their_integrals(noise):
    t = torch.linspace(1.5 * math.pi, 4.5 * math.pi, 200_001, dtype=torch.float64)
    points = torch.stack([t * t.cos(), t * t.sin()])
    first, second = (torch.trapezoid(values, t) / (3 * math.pi) for values in (points, points.square()))
    mean, scale = roll_moments(noise)
    torch.testing.assert_close(mean, first, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(scale, (second - first.square() + noise**2).sqrt(), rtol=1e-8, atol=1e-8)


def test_the_swiss_rolls_moments_are_those_of_its_distribution():
    t = torch.linspace(*ROLL, 200_001, dtype=torch.float64)
    curve = torch.stack([t * t.cos(), t * t.sin()], dim=1)
    mean, scale = roll_moments(0.5)
    torch.testing.assert_close(mean, curve.mean(0), rtol=0, atol=1e-4)
    torch.testing.assert_close(scale.square(), curve.var(0) + 0.25, rtol=1e-4, atol=0)


def test_a_standardised_swiss_roll_has_mean_zero_and_variance_one():
    n = 20_000
    values = build("swiss-roll", n=n, noise=0.1).split("train").values.double()
    assert values.mean(0).abs().max() < 4 / math.sqrt(n)
    spread = values.square().std(0) / math.sqrt(n)
    assert ((values.square().mean(0) - 1).abs() < 4 * spread).all()


@pytest.mark.parametrize(("noise", "bits"), [(0.5, -1.94), (0.1, 0.38), (0.02, 2.70)])
def test_the_swiss_rolls_optimum_is_set_by_its_noise(noise, bits):
    """E log2 p(x) of the true density, p(x) by quadrature over t, against the published optimum."""
    mean, scale = roll_moments(noise)
    points = build("swiss-roll", n=1000, noise=noise).split("train").values.double() * scale + mean
    t = torch.linspace(*ROLL, 8001, dtype=torch.float64)
    t = (t[1:] + t[:-1]) / 2
    curve = torch.stack([t * t.cos(), t * t.sin()], dim=1)
    squares = torch.cat([torch.cdist(block, curve).square() for block in points.split(200)])
    density = torch.logsumexp(-squares / (2 * noise**2), dim=1) - math.log(len(t)) - math.log(2 * math.pi * noise**2)
    found = (density + scale.log().sum()) / math.log(2)
    assert abs(found.mean() - bits) < 4 * found.std() / math.sqrt(len(points)) + 0.01  # the optimum is stated to two digits


def test_an_unstandardised_swiss_roll_without_noise_lies_on_its_curve():
    points = build("swiss-roll", n=100, noise=0.0, standardise=False).split("train").values.double()
    radius = points.norm(dim=1)
    torch.testing.assert_close(points, torch.stack([radius * radius.cos(), radius * radius.sin()], dim=1), atol=1e-4, rtol=0)
    assert radius.min() >= ROLL[0] - 1e-4
    assert radius.max() <= ROLL[1] + 1e-4


def test_how_a_swiss_roll_was_standardised_is_said():
    assert build("swiss-roll", n=5).preparation.words == "standardised: minus (2.000, 0.212), divided by (6.642, 6.969)"
    assert build("swiss-roll", n=5, standardise=False).preparation.words == "as it is"


def test_the_circle_has_radius_one_and_noise_around_it():
    exact = build("circle", n=200, noise=0.0).split("train").values
    torch.testing.assert_close(exact.norm(dim=1), torch.ones(200))
    n, noise = 20_000, 0.01
    radius = build("circle", n=n, noise=noise).split("train").values.double().norm(dim=1)
    assert abs(radius.std() - noise) < 4 * noise / math.sqrt(2 * n)


def test_the_spiral_turns_as_often_as_asked():
    points = build("spiral", n=500, turns=3.0, noise=0.0).split("train").values.double()
    radius = points.norm(dim=1)
    angle = 2 * math.pi * 3 * radius
    torch.testing.assert_close(points, torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1), atol=1e-5, rtol=0)
    assert radius.max() <= 1


def test_the_grid_has_nine_equally_frequent_gaussians_and_labels_name_them():
    n, noise = 18_000, 0.05
    data = build("grid-3x3", n=n, noise=noise, labels=True)
    split = data.split("train")
    assert data.classes == 9
    centre = torch.stack([split.labels // 3 - 1, split.labels % 3 - 1], dim=1)
    assert torch.equal(split.values.round().long(), centre)
    error = math.sqrt(n * (1 / 9) * (8 / 9))
    assert (torch.bincount(split.labels, minlength=9) - n / 9).abs().max() < 4 * error
    assert abs((split.values - centre).std() - noise) < 4 * noise / math.sqrt(4 * n)
    assert ((split.values - centre).mean(0).abs() < 4 * noise / math.sqrt(n)).all()


def test_a_heartbeat_has_five_phases_and_beats_in_every_fifth_bin():
    data = build("heartbeat", n=1000, labels=True)
    split = data.split("train")
    assert data.shape == (20,)
    assert data.preparation.states is BinaryStates
    assert data.preparation.bin_width == 1.0
    assert data.preparation.words == "zeros and ones"
    assert data.classes == 5
    for values, phase in zip(split.values[:50], split.labels[:50], strict=True):
        assert values.nonzero().flatten().tolist() == list(range(int(phase), 20, 5))
    assert len(split.values.unique(dim=0)) == 5
    counts = torch.bincount(split.labels)
    assert (counts - 200).abs().max() < 4 * math.sqrt(1000 * 0.2 * 0.8)


def test_a_heartbeat_slower_than_its_length_is_refused():
    with pytest.raises(ValueError, match="leaves no beat"):
        HeartbeatConfig(length=4, period=5)


@pytest.mark.parametrize(("channels", "depth"), [("grey", 1), ("colour", 3)])
def test_patches_are_pieces_of_the_photographs(channels, depth):
    data = small("patches", size=12, channels=channels)
    values = data.split("train").values
    assert data.shape == (depth, 12, 12)
    assert values.dtype == torch.uint8
    windows = photographs(channels)[:, :, :, : COLUMNS["train"][1]].unfold(2, 12, 1).unfold(3, 12, 1)
    assert all((windows == patch[:, None, None]).flatten(4).all(-1).all(1).any() for patch in values[:3])


def test_patches_come_from_every_photograph():
    windows = photographs("grey")[:, :, :, : COLUMNS["train"][1]].unfold(2, 12, 1).unfold(3, 12, 1)
    patches = small("patches", size=12).split("train").values[:40]
    found = torch.stack([(windows == patch[:, None, None]).flatten(4).all(-1).flatten(1).any(1) for patch in patches])
    assert found.any(0).all()


def test_patches_come_from_every_row(monkeypatch):
    rows = torch.arange(70, dtype=torch.uint8)[:, None].expand(2, 1, 70, 640)
    monkeypatch.setattr("chainkit_datasets.patches.photographs", lambda channels: rows)
    first = build("patches", size=64, n=200, valid=0, test=0).split("train").values[:, 0, 0, 0]
    assert first.unique().tolist() == list(range(7))


def test_grey_is_the_luma_of_the_colours():
    grey, colour = photographs("grey").double(), photographs("colour").double()
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)[:, None, None]
    assert ((colour * weights).sum(1, keepdim=True) - grey).abs().max() <= 0.5 + 1e-9


def test_patches_of_different_splits_come_from_columns_of_their_own():
    spans = sorted(COLUMNS.values())
    assert spans[0][0] == 0
    assert spans[-1][1] == photographs("grey").shape[-1]
    assert all(left[1] == right[0] for left, right in itertools.pairwise(spans))


@pytest.mark.parametrize(("name", "states"), [("digits", {RealStates, ImageStates}), ("patches", {RealStates, ImageStates})])
def test_images_flatten(name, states):
    component = COMPONENTS[name]
    assert set(component.provided(component.config())) == states
    assert set(component.provided(component.config(flatten=True))) == {RealStates}
    assert len(build(name, flatten=True).shape) == 1


def test_a_broken_package_is_reported_on_one_line(monkeypatch, tmp_path):
    (tmp_path / "brokenvision.py").write_text("raise RuntimeError('operator torchvision::nms does not exist\\nand more')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingPackage) as caught:
        imported("brokenvision", "install the right one")
    assert str(caught.value) == "brokenvision cannot be imported (operator torchvision::nms does not exist): install the right one"
    with pytest.raises(MissingPackage, match="no_such_package cannot be imported"):
        imported("no_such_package.part", "pip install it")


def test_listing_the_datasets_imports_neither_torch_nor_what_they_are_read_with():
    code = """
import sys
import chainkit_datasets.hooks, chainkit_images.hooks, chainkit_figures.hooks, chainkit_tensorboard.hooks
for plugin in (chainkit_datasets, chainkit_images):
    plugin.hooks.chainkit_datasets()
chainkit_tensorboard.hooks.chainkit_observers()
print([name for name in ("torch", "numpy", "sklearn", "torchvision", "PIL", "matplotlib", "tensorboard") if name in sys.modules])
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
