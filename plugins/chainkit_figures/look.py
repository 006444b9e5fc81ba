"""How states of some data are shown: as images, as points in the plane, or as rows of pixels."""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs
import torch
from torch import Tensor

from chainkit.data import Data
from chainkit.random import seeded
from chainkit_figures.images import image_shape

Kind: TypeAlias = Literal["images", "points", "rows", "nothing"]

POINTS = 2000
SHOWN: dict[Kind, int] = {"images": 8, "points": 500, "rows": 40, "nothing": 1}
"""How many examples are walked from for a picture."""


@attrs.frozen(kw_only=True, eq=False)
class Look:
    """What pictures of states need to know of their data.

    Arguments:
        shape: Shape of one example.
        examples: The first training examples, [n, *shape].
        low: The value that becomes black.
        high: The value that becomes white.
    """

    shape: tuple[int, ...]
    examples: Tensor
    low: float
    high: float

    @classmethod
    def of(cls, data: Data) -> Look:
        """How states of this data are shown."""
        index = torch.arange(min(POINTS, len(data.split("train"))))
        examples = data.batch("train", index, seeded("cpu", 0, "figures")).origin.cpu()
        low, high = value_range(examples)
        return cls(shape=data.shape, examples=examples, low=low, high=high)

    @property
    def kind(self) -> Kind:
        """As what they are shown."""
        if image_shape(self.shape) is not None:
            return "images"
        if self.shape == (2,):
            return "points"
        return "rows" if len(self.shape) == 1 else "nothing"

    @property
    def shown(self) -> int:
        """How many examples a picture shows."""
        return SHOWN[self.kind]


def value_range(examples: Tensor) -> tuple[float, float]:
    """The values that become black and white: 0 and 1 if the examples lie between them, else their least and largest.

    Arguments:
        examples: Of the data, [n, *event].
    """
    low, high = float(examples.min()), float(examples.max())
    return (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)
