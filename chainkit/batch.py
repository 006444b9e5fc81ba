"""A batch of examples as walks and objectives see it."""

from __future__ import annotations

from typing import Any

import attrs
from torch import Tensor

from chainkit.states import State, map_state


@attrs.frozen(kw_only=True, eq=False)
class Batch:
    """Examples, prepared (scaled, dequantised, binarised) and on their device.

    Arguments:
        origin: x, [B, *event], in model units.
        rows: B, at least 1.
        condition: What the examples are conditioned on: labels [B], known pixels, a nested tuple
            of tensors with one row per example; or None.
        index: Position of each example in its split, a LongTensor [B], for objectives that keep
            state per example; or None.
    """

    origin: State
    rows: int
    condition: Any = None
    index: Tensor | None = None

    def __len__(self) -> int:
        return self.rows

    @classmethod
    def of(cls, origin: Tensor, condition: Any = None) -> Batch:
        """A batch from a tensor [B, *event] of examples, for use without a dataset."""
        return cls(origin=origin, rows=len(origin), condition=condition)

    def chosen(self, index: list[int]) -> Batch:
        """Some of the examples, in the order of ``index``."""
        return Batch(
            origin=map_state(lambda part: part[index], self.origin),
            rows=len(index),
            condition=None if self.condition is None else map_state(lambda part: part[index], self.condition),
            index=None if self.index is None else self.index[index],
        )

    def repeat(self, times: int) -> Batch:
        """Every example ``times`` times, copies of one example side by side."""

        def repeated(tensor: Tensor) -> Tensor:
            return tensor.repeat_interleave(times, 0)

        return Batch(
            origin=map_state(repeated, self.origin),
            rows=self.rows * times,
            condition=None if self.condition is None else map_state(repeated, self.condition),
            index=None if self.index is None else repeated(self.index),
        )
