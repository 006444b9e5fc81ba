"""How stored values become model units: ranges, words, bin widths, and what is drawn when."""

import math

import pytest
import torch

from chainkit.capabilities import BinaryStates, ImageStates, RealStates
from chainkit.data import Split
from chainkit.random import Rows, seeded
from chainkit_datasets.capabilities import labelled_image_states
from chainkit_datasets.configs import DigitsConfig, LabelledPixelConfig, PixelConfig
from chainkit_datasets.preparation import DynamicallyBinarised, Scaled, Thresholded, binarise_once, prepare

PIXELS = torch.arange(256, dtype=torch.uint8).reshape(16, 1, 4, 4)


def prepared(**settings):
    return prepare("pixels", {"train": Split(values=PIXELS)}, PixelConfig(**settings))


def batch(data, *key):
    return data.batch("train", torch.arange(16), seeded("cpu", *(key or (0,)))).origin


def test_scaling_divides_and_reaches_one_exactly():
    data = prepared()
    torch.testing.assert_close(batch(data), PIXELS.float() / 255)
    assert batch(data).min() == 0
    assert batch(data).max() == 1
    assert data.preparation.words == "scaled by 1/255"
    assert data.preparation.bin_width is None
    assert data.preparation.states is RealStates


def test_dequantised_values_stay_in_their_bins():
    data = prepared(scale=256, dequantize=True)
    values = batch(data)
    assert values.dtype == torch.float32
    assert torch.equal((values.double() * 256).floor().clamp(max=255), PIXELS.double())
    assert values.min() >= 0
    assert values.max() <= 1
    assert data.preparation.words == "scaled by 1/256, uniform noise of width 1/256"
    assert data.preparation.bin_width == 1 / 256


@pytest.mark.parametrize("levels", [17, 256])
def test_dequantisation_noise_is_uniform_over_one_bin(levels):
    n = 200_000
    raw = torch.full((n, 1), 7, dtype=torch.uint8)
    noise = Scaled(levels, dequantize=True)(raw, seeded("cpu", 1)).double() * levels - 7
    # The mean of n uniform draws has sd 1/sqrt(12 n), their variance sd 1/sqrt(180 n): 4 of each.
    assert abs(noise.mean() - 0.5) < 4 / math.sqrt(12 * n)
    assert abs(noise.var() - 1 / 12) < 4 / math.sqrt(180 * n)


def test_dequantisation_noise_is_fresh_in_every_batch_and_repeats_with_its_seed():
    data = prepared(scale=256, dequantize=True)
    assert torch.equal(batch(data, 5), batch(data, 5))
    assert not torch.equal(batch(data, 5), batch(data, 6))


def test_an_example_is_prepared_the_same_whatever_its_batch_mates():
    data = prepared(scale=256, dequantize=True)
    alone = data.batch("train", torch.tensor([3]), Rows([seeded("cpu", 3)])).origin
    together = data.batch("train", torch.tensor([9, 3]), Rows([seeded("cpu", 9), seeded("cpu", 3)])).origin
    assert torch.equal(alone[0], together[1])


def test_a_threshold_is_compared_with_scaled_values():
    data = prepared(binarize="threshold", threshold=0.25)
    assert torch.equal(batch(data), (PIXELS.float() / 255 > 0.25).float())
    assert data.preparation.words == "binary: 1 where value / 255 exceeds 0.25"
    assert data.preparation.bin_width == 1.0
    assert data.preparation.states is BinaryStates
    assert Thresholded(16, 0.5)(torch.tensor([[8, 9]]), None).tolist() == [[0.0, 1.0]]


def test_dynamic_binarisation_draws_afresh_and_static_once():
    dynamic, static = prepared(binarize="dynamic"), prepared(binarize="static")
    assert not torch.equal(batch(dynamic, 1), batch(dynamic, 2))
    assert torch.equal(batch(dynamic, 1), batch(dynamic, 1))
    assert torch.equal(batch(static, 1), batch(static, 2))
    for data in (dynamic, static):
        assert batch(data).unique().tolist() == [0.0, 1.0]
        assert data.preparation.states is BinaryStates
        assert data.preparation.bin_width == 1.0
    assert dynamic.preparation.words == "binary: 1 with probability value / 255, drawn in every batch"
    assert static.preparation.words == "binary: 1 with probability value / 255, drawn once per example, seed 0"
    assert static.split("train").values.dtype == torch.uint8


def test_static_draws_depend_on_their_seed_and_on_the_split():
    values = torch.full((100, 20), 128, dtype=torch.uint8)
    first = binarise_once(values, 255, 0, "train")
    assert torch.equal(first, binarise_once(values, 255, 0, "train"))
    assert not torch.equal(first, binarise_once(values, 255, 1, "train"))
    assert not torch.equal(first, binarise_once(values, 255, 0, "test"))


def test_static_draws_reach_every_row_of_a_large_split():
    values = torch.full((9000, 1), 255, dtype=torch.uint8)
    assert binarise_once(values, 255, 0, "train").sum() == 9000


@pytest.mark.parametrize("draw", ["static", "dynamic"])
def test_ones_are_as_frequent_as_the_values_say(draw):
    n, value = 100_000, 51
    raw = torch.full((n, 1), value, dtype=torch.uint8)
    drawn = binarise_once(raw, 255, 0, "train") if draw == "static" else DynamicallyBinarised(255)(raw, seeded("cpu", 0))
    rate = value / 255
    assert abs(drawn.double().mean() - rate) < 4 * math.sqrt(rate * (1 - rate) / n)  # 4 standard errors


def test_black_is_never_drawn_and_white_always():
    raw = torch.tensor([[0, 255]], dtype=torch.uint8).expand(10_000, 2)
    assert DynamicallyBinarised(255)(raw, seeded("cpu", 0)).mean(0).tolist() == [0.0, 1.0]


def test_flattening_changes_the_shape_alone():
    data = prepared(flatten=True)
    assert data.shape == (16,)
    torch.testing.assert_close(batch(data), batch(prepared()).flatten(1))
    assert ImageStates not in data.provided()


def test_a_view_of_the_values_is_scaled_without_changing_them():
    before = PIXELS.clone()
    batch(prepared(scale=256, dequantize=True))
    assert torch.equal(PIXELS, before)


@pytest.mark.parametrize("settings", [{"dequantize": True}, {"dequantize": True, "scale": 256, "binarize": "static"}])
def test_noise_that_would_not_fill_the_unit_interval_is_refused(settings):
    with pytest.raises(ValueError, match=r"scale = 256|binarised"):
        PixelConfig(**settings)
    with pytest.raises(ValueError, match="scale = 17"):
        DigitsConfig(dequantize=True)


def test_what_is_provided_is_known_from_the_settings():
    assert labelled_image_states(LabelledPixelConfig()) == (RealStates, ImageStates)
    assert labelled_image_states(LabelledPixelConfig(binarize="static", flatten=True)) == (BinaryStates,)


@pytest.mark.parametrize("scale", [1, 16, 17, 255, 256])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_scaling_is_division_to_the_last_bit_and_leaves_what_was_read_alone(scale, dtype):
    raw = torch.arange(256).to(dtype)
    assert torch.equal(Scaled(scale)(raw, None), raw.float() / scale)
    drawn = torch.empty(256).uniform_(generator=seeded("cpu", 1))
    assert torch.equal(Scaled(scale, dequantize=True)(raw, seeded("cpu", 1)), (drawn + raw.float()) / scale)
    assert torch.equal(raw, torch.arange(256).to(dtype))
