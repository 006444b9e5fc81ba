"""Data known by its values."""

import torch

from chainkit.data import Data, Split
from chainkit.fingerprint import fingerprint
from chainkit.preparation import Unprepared

VALUES = torch.arange(60, dtype=torch.uint8).view(20, 3)


def test_a_fingerprint_is_that_of_the_values_their_type_and_shape_and_of_labels_that_condition():
    def of(values=VALUES, labels=None, classes=None):
        return fingerprint(Data("d", {"train": Split(values=values, labels=labels)}, Unprepared(), classes), "train")

    labels = torch.arange(20) % 2
    alike = [of(), of(VALUES.clone()), of(VALUES.T.contiguous().T), of(labels=labels)]
    changed = VALUES.clone()
    changed[19, 2] += 1
    others = [
        of(changed),
        of(VALUES[:19]),
        of(VALUES.view(20, 1, 3)),
        of(VALUES.float()),
        of(VALUES.flip(0)),
        of(labels=labels, classes=2),
        of(labels=1 - labels, classes=2),
    ]
    assert len(set(alike)) == 1
    assert len({*alike, *others}) == 1 + len(others)


def test_a_fingerprint_does_not_depend_on_how_many_examples_are_read_at_once(monkeypatch):
    whole = fingerprint(Data.of(VALUES), "train")
    monkeypatch.setattr("chainkit.fingerprint.ROWS", 2)
    assert fingerprint(Data.of(VALUES), "train") == whole
