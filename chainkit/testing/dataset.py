"""Datasets: splits that are prepared as they say, example by example."""

from __future__ import annotations

import torch
from torch import Tensor

from chainkit.batch import Batch
from chainkit.capabilities import BinaryStates, RealStates
from chainkit.data import SPLITS, Data, Law
from chainkit.random import Rows, seeded
from chainkit.testing.expect import expect, expect_tensor, expect_type

ROWS = 5


def check_dataset(data: Data, *, seed: int = 0, where: str = "dataset") -> None:
    """Checks a dataset.

    Arguments:
        data: The dataset.
        seed: Seed of random preparation.
        where: Name for messages.

    Raises:
        AssertionError: It breaks what :class:`chainkit.data.Data` promises.
    """
    expect_type(data, Data, where)
    unknown = set(data.splits) - set(SPLITS)
    expect(not unknown, where, f"no splits but {', '.join(SPLITS)}", ", ".join(unknown))
    expect(bool(data.preparation.words.strip()), f"{where}.preparation.words", "what is done to the data", "nothing")
    width = data.preparation.bin_width
    expect(width is None or width > 0, f"{where}.preparation.bin_width", "above 0, or None", width)
    expect(data.preparation.states in data.provided(), f"{where}.provided()", "the kind of its states", data.provided())
    for name in data.splits:
        _check_split(data, name, seed, f"{where}, split {name}")
    _check_summary(data, where)


def _batch(data: Data, split: str, rows: list[int], seed: int) -> Batch:
    return data.batch(split, torch.tensor(rows), Rows([seeded("cpu", seed, row) for row in rows]))


def _check_split(data: Data, split: str, seed: int, where: str) -> None:
    size = len(data.split(split))
    rows = sorted({int(position * (size - 1) / max(1, ROWS - 1)) for position in range(ROWS)})
    batch = _batch(data, split, rows, seed)
    expect_tensor(batch.origin, (len(rows), *data.shape), f"{where}, a batch")
    expect(batch.origin.dtype == torch.float32, f"{where}, a batch", "float32", batch.origin.dtype)
    expect(torch.equal(batch.origin, _batch(data, split, rows, seed).origin), where, "the same preparation from the same source", "another")
    alone = _batch(data, split, rows[-1:], seed).origin
    expect(torch.equal(batch.origin[-1:], alone), where, "an example that does not depend on its batch-mates", "one that does")
    _check_values(data, batch.origin, where)
    if data.log_density is not None:
        _check_law(data.log_density, batch, where)
    if data.classes is not None:
        _check_labels(batch.condition, len(rows), data.classes, where)


def _check_values(data: Data, values: Tensor, where: str) -> None:
    states = data.preparation.states
    expect(states in (RealStates, BinaryStates), where, "RealStates or BinaryStates", states.__name__)
    if states is BinaryStates:
        expect(bool(((values == 0) | (values == 1)).all()), where, "zeros and ones", values.unique()[:5].tolist())


def _check_law(log_density: Law, batch: Batch, where: str) -> None:
    values, condition = batch.origin, batch.condition
    found = log_density(values, condition)
    expect_tensor(found, (len(values),), f"{where}, log_density")
    expect(found.dtype == torch.float64, f"{where}, log_density", "float64", found.dtype)
    alone = log_density(values[-1:], None if condition is None else condition[-1:])
    expect(torch.allclose(found[-1:], alone), f"{where}, log_density", "rows that do not depend on each other", found)


def _check_labels(labels: object, rows: int, classes: int, where: str) -> None:
    assert isinstance(labels, Tensor), f"{where}: expected labels, seen {type(labels).__name__}"
    expect(labels.dtype == torch.long and tuple(labels.shape) == (rows,), f"{where}, labels", f"a LongTensor [{rows}]", labels)
    expect(bool(((labels >= 0) & (labels < classes)).all()), f"{where}, labels", f"0..{classes - 1}", labels.tolist())


def _check_summary(data: Data, where: str) -> None:
    summary = data.summary
    expect(tuple(summary.shape) == data.shape, f"{where}.summary", f"the shape {list(data.shape)}", list(summary.shape))
    expect_tensor(summary.mean, data.shape, f"{where}.summary.mean")
    expect_tensor(summary.variance, data.shape, f"{where}.summary.variance")
    expect(bool((summary.variance >= 0).all()), f"{where}.summary.variance", "0 or more", float(summary.variance.min()))
