"""Data turned round: labels are what is generated, and the examples are what they are conditioned on.

A chain over such data models p(y | x): a discriminant GSN (chapter 20.12.1 of Goodfellow, Bengio and
Courville; Zhou and Troyanskaya 2014). Labels become bits, one of which is 1.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import attrs
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from chainkit.batch import Batch
from chainkit.data import Data, Split, Summary
from chainkit.errors import DataError
from chainkit.preparation import Unprepared
from chainkit.random import Source, seeded

if TYPE_CHECKING:
    from chainkit.component import Context
    from chainkit_gsn.configs import OutputsConfig


class Outputs(Data):
    """The labels of a dataset as its examples [classes], conditioned on its examples.

    Arguments:
        inputs: The dataset, with labels.

    Raises:
        DataError: It has none.
    """

    def __init__(self, inputs: Data) -> None:
        labels = {name: split.labels for name, split in inputs.splits.items()}
        found = {name: given for name, given in labels.items() if given is not None}
        if len(found) < len(labels):
            raise DataError(f"{inputs.name} has no labels to generate")
        classes = 1 + max(int(given.max()) for given in found.values())
        splits = {name: Split(values=one_hot(given, classes).to(torch.uint8), labels=given) for name, given in found.items()}
        super().__init__(f"labels of {inputs.name}", splits, Unprepared(binary=True))
        self.inputs = inputs
        self.preparation.words = f"labels as one of {classes} bits, given {inputs.name} {inputs.preparation.words}"

    def to(self, device: torch.device | str, dtype: torch.dtype = torch.float32) -> None:
        self.inputs.to(device, dtype)
        super().to(device, dtype)

    def batch(self, split: str, index: Tensor, source: Source, device: torch.device | str = "cpu") -> Batch:
        given = self.inputs.batch(split, index, source, device).origin
        return attrs.evolve(super().batch(split, index, source, device), condition=given)

    @cached_property
    def summary(self) -> Summary:
        """As every dataset's, with the shape of what is given."""
        return attrs.evolve(super().summary, condition=self.inputs.shape)

    def conditions(self, n: int, device: torch.device | str = "cpu") -> Tensor:
        """The first training examples, again from the start where there are fewer than n."""
        index = torch.arange(n) % len(self.split("train"))
        return self.inputs.batch("train", index, seeded(device, 0, "conditions"), device).origin


def build(config: OutputsConfig, context: Context) -> Outputs:
    """The dataset ``labels-of``."""
    return Outputs(context.build(config.inputs))
