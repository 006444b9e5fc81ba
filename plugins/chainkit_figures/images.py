"""From states to arrays of pixels: single images, grids of samples, film strips of chains."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

Item = TypeVar("Item")
BORDER = 128
"""Grey between the images of a grid."""


def image_shape(shape: Sequence[int]) -> tuple[int, int, int] | None:
    """Channels, rows and columns of an example that can be seen as an image, else None.

    Images have one or three channels. A vector is seen as a square image, channels first, if it
    has 64 or more elements and their number is a square, or three times a square.

    Arguments:
        shape: Shape of one example.
    """
    if len(shape) == 3 and shape[0] in (1, 3):
        return shape[0], shape[1], shape[2]
    if len(shape) == 1 and shape[0] >= 64:
        for channels in (1, 3):
            side = math.isqrt(shape[0] // channels)
            if channels * side * side == shape[0]:
                return channels, side, side
    return None


def as_images(state: Tensor, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """States as images, uint8 [n, rows, columns, channels].

    Arguments:
        state: [n, *event], each seen as an image by :func:`image_shape`.
        low: The value that becomes black; what is below it, or not a number, does too.
        high: The value that becomes white; what is above it does too.

    Raises:
        ValueError: The states cannot be seen as images.
    """
    shape = image_shape(state.shape[1:])
    if shape is None:
        raise ValueError(f"states of shape {tuple(state.shape[1:])} are no images")
    scaled = (state.detach().cpu().double().reshape(-1, *shape) - low) / (high - low)
    pixels = (scaled.nan_to_num(0).clamp(0, 1) * 255).round().byte()
    return pixels.permute(0, 2, 3, 1).numpy()


def grid(images: np.ndarray, columns: int | None = None, gap: int = 1) -> np.ndarray:
    """Images beside and below each other, uint8 [height, width, 3].

    Arguments:
        images: uint8 [n, rows, columns, channels], n at least 1, with one or three channels.
        columns: Images in a row; as many as make the grid about square unless given.
        gap: Grey pixels between images.
    """
    n, height, width, _ = images.shape
    across = min(n, columns or math.ceil(math.sqrt(n)))
    down = math.ceil(n / across)
    canvas = np.full((down * (height + gap) - gap, across * (width + gap) - gap, 3), BORDER, dtype=np.uint8)
    for place, image in enumerate(images):
        top, left = (place // across) * (height + gap), (place % across) * (width + gap)
        canvas[top : top + height, left : left + width] = image
    return canvas


def strip(columns: Sequence[np.ndarray], gap: int = 1) -> np.ndarray:
    """A film strip, uint8 [height, width, 3]: one row per sample, one column per state.

    Arguments:
        columns: For every state, from noise to data, the images of all samples.
        gap: Grey pixels between images.
    """
    stacked = np.stack(columns, axis=1)
    return grid(stacked.reshape(-1, *stacked.shape[2:]), columns=len(columns), gap=gap)


def evenly(items: Sequence[Item], n: int) -> list[Item]:
    """At most ``n`` of the items, the first and the last among them, the others evenly between.

    Arguments:
        items: In order.
        n: 2 or more.
    """
    if len(items) <= n:
        return list(items)
    return [items[round(place * (len(items) - 1) / (n - 1))] for place in range(n)]


def states_on_the_way(path: Sequence[Any], shape: Sequence[int], steps: Sequence[int] | None = None) -> list[tuple[int, Tensor]]:
    """The states that look like data, each with its step k, from noise to data.

    States are opaque and may have another shape at every step; those that do not have the shape of
    an example, nor a part that does, are left out.

    Arguments:
        path: s_N..s_0, or some of them.
        shape: Shape of one example.
        steps: The step of each state; N..0 unless given.
    """
    steps = range(len(path) - 1, -1, -1) if steps is None else steps
    seen = [(k, _like_data(state, tuple(shape))) for k, state in zip(steps, path, strict=True)]
    return [(k, part) for k, part in seen if part is not None]


def _like_data(state: Any, shape: tuple[int, ...]) -> Tensor | None:
    """The state, or the first part of a tuple, that has the shape of an example; None if there is none."""
    if isinstance(state, Tensor):
        return state if tuple(state.shape[1:]) == shape else None
    return next((found for part in state if (found := _like_data(part, shape)) is not None), None)
