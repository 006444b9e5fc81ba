"""Data: raw values in memory or mapped from disk, prepared batch by batch.

Nothing is decoded per item and epoch: a split is one tensor (uint8 where the source is), possibly
backed by a memory map, and a batch is one index into it followed by its preparation, which states
how it scales, dequantises or binarises. That statement is stored with every number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any, TypeAlias

import attrs
import torch
from torch import Tensor

from chainkit.batch import Batch
from chainkit.capabilities import ImageStates, KnownLaw, Labelled
from chainkit.errors import DataError
from chainkit.journal import Journal
from chainkit.preparation import Preparation, Unprepared
from chainkit.random import Rows, Source, seeded

Law: TypeAlias = Callable[[Tensor, Any], Tensor]
"""From examples x [B, *shape] and what they are conditioned on (or None) to log p(x | condition), float64 [B], in nats."""

SPLITS = ("train", "valid", "test")

SUMMARY_ELEMENTS = 2**22
"""How many numbers are held at once while mean and variance are computed."""


@attrs.frozen(kw_only=True, eq=False)
class Split:
    """Raw examples.

    Arguments:
        values: [N, *shape], uint8 or float32; may be backed by a memory map.
        labels: A LongTensor [N] of classes 0..classes-1, or None.
    """

    values: Tensor
    labels: Tensor | None = None

    def __len__(self) -> int:
        return len(self.values)


@attrs.frozen(kw_only=True, eq=False)
class Summary:
    """What models may know of the prepared training data.

    Arguments:
        shape: Shape of one example.
        states: ``RealStates`` or ``BinaryStates``.
        mean: Per element, [*shape], in model units.
        variance: Per element, [*shape], in squared model units.
        classes: Number of classes where the examples are labelled, else None.
        condition: Shape of the real values that an example is conditioned on, where there are any, else None.
    """

    shape: tuple[int, ...]
    states: type
    mean: Tensor
    variance: Tensor
    classes: int | None = None
    condition: tuple[int, ...] | None = None

    @property
    def dim(self) -> int:
        """Number of elements of one example."""
        return self.mean.numel()


class Data:
    """A dataset with its splits.

    Arguments:
        name: For tables.
        splits: ``train``, and where they exist ``valid`` and ``test``; none of them empty.
        preparation: How raw values become model units.
        classes: Number of classes if labels condition the chain, else None.
        log_density: The law of the prepared examples, given their labels where these condition the chain;
            None where it is not known.

    Raises:
        DataError: There is no train split, one is empty or of another shape, or labels are wanted and absent or no classes.
    """

    def __init__(
        self,
        name: str,
        splits: Mapping[str, Split],
        preparation: Preparation,
        classes: int | None = None,
        log_density: Law | None = None,
    ) -> None:
        if "train" not in splits:
            raise DataError(f"{name} has no train split")
        for split, content in splits.items():
            if not len(content):
                raise DataError(f"{name}: the {split} split is empty")
            if content.values.shape[1:] != splits["train"].values.shape[1:]:
                raise DataError(f"{name}: the splits differ in shape")
            if classes is not None:
                _require_labels(f"{name}: the {split} split", content, classes)
        self.name = name
        self.splits = dict(splits)
        self.preparation = preparation
        self.classes, self.log_density = classes, log_density
        self.dtype = torch.float32

    @classmethod
    def of(cls, train: Tensor, *, valid: Tensor | None = None, test: Tensor | None = None, binary: bool = False) -> Data:
        """Data from tensors [N, *shape] that are in model units already."""
        given = {"train": train, "valid": valid, "test": test}
        splits = {split: Split(values=values) for split, values in given.items() if values is not None}
        return cls("tensors", splits, Unprepared(binary))

    def __repr__(self) -> str:
        splits = ", ".join(f"{len(content)} {name}" for name, content in self.splits.items())
        return f"<Data {self.name}: {splits} examples of shape {'x'.join(map(str, self.shape))}, {self.preparation.words}>"

    def __call__(self, split: str) -> Examples:
        """All examples of a split, to estimate something on: ``run.data("test")``."""
        return self.examples(split)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example."""
        return tuple(self.splits["train"].values.shape[1:])

    def provided(self) -> tuple[type, ...]:
        """The capabilities of the states, now that they are known."""
        image = (ImageStates,) if len(self.shape) == 3 else ()
        labelled = (Labelled,) if self.classes is not None else ()
        known = (KnownLaw,) if self.log_density is not None else ()
        return (self.preparation.states, *image, *labelled, *known)

    def to(self, device: torch.device | str, dtype: torch.dtype = torch.float32) -> None:
        """Moves the splits to a device, to stay there, and sets the type of what is prepared from them.

        Arguments:
            device: The device.
            dtype: float32 or float64.
        """
        self.dtype = dtype
        self.__dict__.pop("summary", None)  # It may have been taken in another type.
        for name, split in self.splits.items():
            labels = None if split.labels is None else split.labels.to(device)
            self.splits[name] = Split(values=split.values.to(device), labels=labels)

    def split(self, name: str) -> Split:
        """A split.

        Raises:
            DataError: There is no such split.
        """
        if name not in self.splits:
            raise DataError(f"{self.name} has no {name} split, only {', '.join(self.splits)}")
        return self.splits[name]

    def batch(self, split: str, index: Tensor, source: Source, device: torch.device | str = "cpu") -> Batch:
        """Prepared examples.

        Arguments:
            split: Name of the split.
            index: Which examples, a LongTensor [B].
            source: Where dequantisation and binarisation draw from, on ``device``.
            device: Where the batch is wanted.
        """
        content = self.split(split)
        local = index.to(content.values.device)
        labels = content.labels[local].to(device) if self.classes is not None and content.labels is not None else None
        origin = self.preparation(content.values.index_select(0, local).to(device), source).to(self.dtype)
        return Batch(origin=origin, rows=len(index), condition=labels, index=index)

    def conditions(self, n: int, device: torch.device | str = "cpu") -> Any:
        """What samples are conditioned on unless something else is asked for: the classes in turn, if labels condition the chain.

        Arguments:
            n: Number of samples, at least 1.
            device: Where the conditions are wanted.

        Returns:
            One row per sample, as a batch's ``condition``; None where nothing conditions the chain.
        """
        return None if self.classes is None else torch.arange(n, device=device) % self.classes

    @cached_property
    def summary(self) -> Summary:
        """Mean and variance of every element over the prepared training split, accumulated in float64.

        Raises:
            DataError: A value is not finite.
        """
        split, total, square = self.splits["train"], 0.0, 0.0
        source = seeded(split.values.device, 0, "summary")
        for index in torch.arange(len(split)).split(max(1, SUMMARY_ELEMENTS // math.prod(self.shape))):
            values = self.batch("train", index, source, split.values.device).origin.double()
            self._require_finite(index, values)
            total, square = total + values.sum(0), square + values.square().sum(0)
        mean = torch.as_tensor(total / len(split))
        variance = torch.as_tensor(square / len(split) - mean.square()).clamp_(min=0)
        return Summary(
            shape=self.shape,
            states=self.preparation.states,
            mean=mean.to(self.dtype),
            variance=variance.to(self.dtype),
            classes=self.classes,
        )

    def _require_finite(self, index: Tensor, values: Tensor) -> None:
        strange = (~torch.isfinite(values)).nonzero()
        if len(strange):
            row = strange[0].tolist()
            raise DataError(f"{self.name}: train has {float(values[tuple(row)])} at index {[int(index[row[0]]), *row[1:]]}")

    def examples(self, split: str, n: int | None = None, *, seed: int = 0, device: torch.device | str = "cpu") -> Examples:
        """Examples to estimate something on.

        Arguments:
            split: Name of the split.
            n: How many, a random choice that depends on the seed; None, or more than there are, takes all.
            seed: Seed of the choice and of all draws made for the figures.
            device: Where the batches are wanted.

        Raises:
            ValueError: ``n`` below 1.
            DataError: There is no such split.
        """
        if n is not None and n < 1:
            raise ValueError(f"at least one example is taken, not {n}")
        chosen = torch.randperm(len(self.split(split)), generator=seeded("cpu", seed, "choice", split))[:n].sort().values
        return Examples(data=self, split=split, index=chosen, seed=seed, device=device)


def _require_labels(what: str, split: Split, classes: int) -> None:
    if split.labels is None:
        raise DataError(f"{what} has no labels")
    if len(split.labels) != len(split):
        raise DataError(f"{what} has {len(split.labels)} labels for {len(split)} examples")
    strange = ((split.labels < 0) | (split.labels >= classes)).nonzero()
    if len(strange):
        index = int(strange[0])
        raise DataError(f"{what} has the label {int(split.labels[index])} at index {index}, where classes are 0..{classes - 1}")


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Examples:
    """A fixed set of examples, each with random numbers of its own.

    Whatever is drawn for an example depends on the seed and its index alone, so that its figure
    does not change with its batch-mates or with the size of the batches.

    Arguments:
        data: The data.
        split: Name of the split.
        index: Which examples of it, a LongTensor [n].
        seed: Seed of all draws.
        device: Where the batches are wanted.
        journal: Where pieces of a long estimate are kept, so that it can be continued.
    """

    data: Data
    split: str
    index: Tensor
    seed: int = 0
    device: torch.device | str = "cpu"
    journal: Journal = attrs.field(factory=Journal)

    def __len__(self) -> int:
        return len(self.index)

    def __repr__(self) -> str:
        return f"<{len(self)} {self.split} examples of {self.data.name}, seed {self.seed}>"

    def source(self, index: Tensor, *place: int | str, rows: int = 1) -> Rows:
        """Random numbers for some of the examples.

        Arguments:
            index: Which examples.
            place: What the draws are for, such as ``("walks", 3)``.
            rows: Rows drawn for each of them at once.
        """
        return Rows([seeded(self.device, self.seed, self.split, i, *place) for i in index.tolist()], rows)

    def batches(self, rows: int) -> Iterator[Batch]:
        """The examples in batches of at most ``rows``, prepared with random numbers of their own."""
        yield from map(self.batch, self.index.split(rows))

    def batch(self, index: Tensor) -> Batch:
        """Some of the examples as one batch.

        Arguments:
            index: Which.
        """
        return self.data.batch(self.split, index, self.source(index, "preparation"), self.device)
