"""How raw values of a dataset become states: scaled, dequantised, binarised, or left as they are."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from chainkit.capabilities import BinaryStates, RealStates
from chainkit.random import Source


class Preparation(ABC):
    """From raw values to model units; subclasses set the fields.

    Arguments:
        states: The capability of what comes out, ``RealStates`` or ``BinaryStates``.
        words: What is done, for tables: "scaled by 1/256, uniform noise of width 1/256".
        bin_width: w, the width of one quantisation bin in model units, 1 for masses on {0, 1};
            None where the data was not dequantised, so that it has no bits per dimension.
    """

    states: type = RealStates
    words: str = "as it is"
    bin_width: float | None = None

    @abstractmethod
    def __call__(self, raw: Tensor, source: Source) -> Tensor:
        """Prepares raw values [B, *shape] as float32 [B, *shape]; random parts draw from ``source``."""


class Unprepared(Preparation):
    """Values that are in model units already.

    Arguments:
        binary: Whether they are zeros and ones.
    """

    def __init__(self, binary: bool = False) -> None:
        self.states = BinaryStates if binary else RealStates
        self.bin_width = 1.0 if binary else None

    def __call__(self, raw: Tensor, source: Source) -> Tensor:
        return raw.float()
