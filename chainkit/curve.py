"""A curve: how a figure depends on something, as data that plots and reports draw without knowing what it is."""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs

Point: TypeAlias = tuple[float, float, float | None]


@attrs.frozen(kw_only=True)
class Curve:
    """Points of a figure along an axis.

    Arguments:
        name: What the axis counts, in one word for file names, such as "walks"; curves of one name
            are drawn in one picture.
        x: The axis, in words.
        y: The figure, in words.
        unit: Unit of the figure.
        points: Of each point its place, the figure there, and its standard error, None where it has none.
        error: What the standard errors are of; empty where there are none.
        scale: Whether the places are read on a ``linear`` or a ``log`` axis.
    """

    name: str
    x: str
    y: str
    unit: str
    points: tuple[Point, ...]
    error: str = ""
    scale: Literal["linear", "log"] = "linear"
