"""Data: batches, their preparation and summary, and examples with random numbers of their own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from chainkit.batch import Batch
from chainkit.capabilities import BinaryStates, ImageStates, Labelled, RealStates
from chainkit.data import Data, Split
from chainkit.errors import DataError
from chainkit.preparation import Preparation, Unprepared
from chainkit.random import seeded, uniform

VALUES = torch.arange(60, dtype=torch.uint8).view(20, 3)


class Dequantised(Preparation):
    words = "scaled by 1/64, uniform noise of width 1/64"
    bin_width = 1 / 64

    def __call__(self, raw: Tensor, source) -> Tensor:
        raw = raw.float()
        return (raw + uniform(raw, source)) / 64


def noisy(**splits: Tensor) -> Data:
    splits = splits or {"train": VALUES, "test": VALUES[:7]}
    return Data("noisy", {name: Split(values=values) for name, values in splits.items()}, Dequantised())


def test_a_batch_holds_the_chosen_examples_with_their_index():
    index = torch.tensor([4, 0, 19])
    batch = Data.of(VALUES.float()).batch("train", index, None)
    assert torch.equal(batch.origin, VALUES[index].float())
    assert torch.equal(batch.index, index)
    assert len(batch) == batch.rows == 3
    assert batch.condition is None


def test_labels_condition_the_chain_only_where_classes_are_stated():
    split = Split(values=VALUES, labels=torch.arange(20) % 4)
    index = torch.tensor([7, 2])
    assert torch.equal(
        Data("labelled", {"train": split}, Unprepared(), classes=4).batch("train", index, None).condition, torch.tensor([3, 2])
    )
    assert Data("plain", {"train": split}, Unprepared()).batch("train", index, None).condition is None


def test_summary_is_that_of_the_training_split():
    values = torch.randn(9000, 2, 3, generator=seeded("cpu", 0)) * 5 + 100
    summary = Data.of(values, test=values[:5] * 0).summary
    assert summary.shape == (2, 3)
    assert summary.dim == 6
    assert summary.classes is None
    torch.testing.assert_close(summary.mean, values.double().mean(0).float())
    torch.testing.assert_close(summary.variance, values.double().var(0, correction=0).float())


def test_summary_is_of_the_prepared_values():
    constant = torch.full((10_000, 2), 9, dtype=torch.uint8)
    summary = noisy(train=constant).summary
    torch.testing.assert_close(summary.mean, torch.full((2,), 9.5 / 64), atol=4 / 64 / (12 * 10_000) ** 0.5, rtol=0)
    torch.testing.assert_close(summary.variance, torch.full((2,), 1 / 12 / 64**2), rtol=0.06, atol=0)


def test_summary_of_a_constant_has_no_negative_variance():
    assert (Data.of(torch.full((50, 3), 0.1)).summary.variance >= 0).all()


def test_the_type_of_data_and_summary_is_set_once():
    data = noisy()
    assert data.summary.mean.dtype == torch.float32
    data.to("cpu", torch.float64)
    assert data.summary.mean.dtype == torch.float64
    assert data.batch("train", torch.tensor([0]), None).origin.dtype == torch.float64
    assert data.split("train").values.dtype == torch.uint8


def test_a_memory_mapped_array_is_read_batch_by_batch(tmp_path):
    np.save(tmp_path / "values.npy", VALUES.numpy())
    mapped = torch.from_numpy(np.load(tmp_path / "values.npy", mmap_mode="c"))
    data = noisy(train=mapped)
    assert data.split("train").values.data_ptr() == mapped.data_ptr()
    batch = data.batch("train", torch.tensor([1, 3]), seeded("cpu", 0))
    assert torch.equal((batch.origin * 64).floor(), VALUES[[1, 3]].float())


@pytest.mark.parametrize(
    ("shape", "binary", "expected"),
    [((5,), False, {RealStates}), ((5,), True, {BinaryStates}), ((1, 4, 4), False, {RealStates, ImageStates})],
)
def test_states_say_what_they_are(shape, binary, expected):
    assert set(Data.of(torch.zeros(2, *shape), binary=binary).provided()) == expected


def test_labelled_data_say_so():
    split = Split(values=VALUES, labels=torch.zeros(20, dtype=torch.long))
    assert Labelled in Data("labelled", {"train": split}, Unprepared(), classes=1).provided()


def test_unfit_data_are_refused_by_name():
    with pytest.raises(DataError, match="nothing has no train split"):
        Data("nothing", {"test": Split(values=torch.zeros(2, 2))}, Unprepared())
    with pytest.raises(DataError, match="nothing: the train split is empty"):
        Data("nothing", {"train": Split(values=VALUES[:0])}, Unprepared())
    with pytest.raises(DataError, match="plain: the train split has no labels"):
        Data("plain", {"train": Split(values=VALUES)}, Unprepared(), classes=3)
    with pytest.raises(DataError, match="noisy has no valid split, only train, test"):
        noisy().split("valid")


@pytest.mark.parametrize("rows", [1, 3, 7, 100])
def test_prepared_examples_do_not_depend_on_the_size_of_the_batches(rows):
    examples = noisy().examples("test", seed=5)
    reference = torch.cat([batch.origin for batch in examples.batches(7)])
    assert torch.equal(torch.cat([batch.origin for batch in examples.batches(rows)]), reference)


def test_an_example_is_prepared_the_same_among_other_examples():
    data = noisy()
    (every,) = data.examples("train", seed=5).batches(100)
    few = data.examples("train", 4, seed=5)
    (some,) = few.batches(100)
    assert torch.equal(every.origin[few.index], some.origin)


def test_examples_are_a_repeatable_choice_without_repetition():
    data = noisy()
    chosen = data.examples("train", 8, seed=3).index
    assert len(chosen.unique()) == 8
    assert torch.equal(chosen, data.examples("train", 8, seed=3).index)
    assert not torch.equal(chosen, data.examples("train", 8, seed=4).index)
    assert torch.equal(data("train").index, torch.arange(20))
    assert len(data.examples("test", 1000)) == 7


def test_draws_depend_on_seed_split_example_and_purpose():
    data, index = noisy(), torch.tensor([2])

    def draw(split: str = "train", seed: int = 0, which: Tensor = index, place: str = "walks") -> Tensor:
        return uniform(torch.empty(1, 4), data.examples(split, seed=seed).source(which, place))

    reference = draw()
    assert torch.equal(reference, draw())
    for other in (draw(split="test"), draw(seed=1), draw(which=torch.tensor([3])), draw(place="preparation")):
        assert not torch.equal(reference, other)


def test_repeating_a_batch_keeps_the_copies_of_an_example_side_by_side():
    batch = Batch(
        origin=(torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0, 3.0], [4.0, 4.0]])),
        rows=2,
        condition=torch.tensor([5, 6]),
        index=torch.tensor([8, 9]),
    ).repeat(2)
    assert len(batch) == 4
    left, right = batch.origin
    assert left[:, 0].tolist() == [1, 1, 2, 2]
    assert right[:, 1].tolist() == [3, 3, 4, 4]
    assert batch.condition.tolist() == [5, 5, 6, 6]
    assert batch.index.tolist() == [8, 8, 9, 9]
    assert Batch.of(torch.zeros(3, 2)).repeat(2).condition is None


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (None, "has no labels"),
        ([0, 1], "has 2 labels for 3 examples"),
        ([0, 1, 3], "has the label 3 at index 2, where classes are 0..2"),
        ([0, -1, 5], "has the label -1 at index 1, where classes are 0..2"),
    ],
)
def test_labels_that_are_no_classes_of_the_examples_are_refused(labels, words):
    split = Split(values=torch.zeros(3, 2), labels=None if labels is None else torch.tensor(labels))
    with pytest.raises(DataError, match=f"points: the train split {words}"):
        Data("points", {"train": split}, Unprepared(), classes=3)


def test_splits_of_different_shapes_are_refused():
    with pytest.raises(DataError, match="tensors: the splits differ in shape"):
        Data.of(torch.zeros(3, 2), test=torch.zeros(3, 3))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_training_data_that_is_not_finite_is_refused_with_its_index(value):
    values = torch.zeros(70, 2, 3)
    values[61, 1, 2] = value
    with pytest.raises(DataError, match=rf"tensors: train has {value} at index \[61, 1, 2\]"):
        _ = Data.of(values).summary
