"""States one after the other: a film strip of images, or panels of points or of rows of pixels.

All states of a sequence belong to the same samples, in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import torch
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from chainkit_figures.images import as_images, evenly, strip
from chainkit_figures.look import POINTS, Look
from chainkit_figures.picture import Picture

Way: TypeAlias = list[tuple[int, Tensor]]
"""States with their step k, from noise to data."""
Named: TypeAlias = Sequence[tuple[str, Tensor]]
"""States under their names."""

ROWS = 10
COLUMNS = 16
PANELS = 6
MOST_ROWS = 100
TICKS = 5


def symbols(way: Way, most: int, hat: bool = False) -> list[tuple[str, Tensor]]:
    """Some states of a way under their mathematical names.

    Arguments:
        way: The states.
        most: How many at most, 2 or more; the first and the last are among them.
        hat: Whether they are of a way back.
    """
    letter = r"\hat s" if hat else "s"
    return [(f"${letter}_{{{k}}}$", state) for k, state in evenly(way, most)]


def most_states(look: Look) -> int:
    """How many states of a way are shown beside each other."""
    return COLUMNS if look.kind == "images" else PANELS


def sequence(named: Named, look: Look, title: str, side: str = "sample", marks: Sequence[str] = ()) -> Picture:
    """A picture of states beside each other; of points and rows every panel is under its name.

    Arguments:
        named: The states, each [n, *event]; of images ten rows are shown.
        look: How they are shown.
        title: Above them.
        side: What one row is.
        marks: What stands beside each row of images; numbers from 1 unless given.

    Raises:
        ValueError: States of this data are not shown.
    """
    if look.kind == "images":
        return film(named, look, title, side, marks)
    if look.kind == "points":
        return scatters([*named, ("data", look.examples)], look, title)
    if look.kind == "rows":
        return rasters(named, look, title, side)
    raise ValueError(f"states of shape {look.shape} are not shown")


def film(named: Named, look: Look, title: str, side: str = "sample", marks: Sequence[str] = ()) -> Picture:
    """A film strip: one row per sample, one column per state; the arguments are those of :func:`sequence`."""
    columns = [as_images(state[:ROWS], look.low, look.high) for _, state in named]
    rows, height, width = columns[0].shape[:3]
    figure = Picture(max(1.0 + 0.6 * len(columns), 4.0), 1.0 + 0.6 * rows * height / width)
    axes = figure.add_subplot()
    axes.imshow(strip(columns), interpolation="nearest")
    axes.xaxis.tick_top()
    axes.set_xticks([place * (width + 1) + (width - 1) / 2 for place in range(len(named))], [name for name, _ in named])
    numbers = marks or [str(row) for row in range(1, rows + 1)]
    axes.set_yticks([place * (height + 1) + (height - 1) / 2 for place in range(rows)], numbers[:rows])
    axes.tick_params(length=0)
    axes.set_title(title)
    axes.set_ylabel(side)
    return figure


def panels(n: int, title: str) -> tuple[Picture, list[Axes]]:
    """A picture of n panels side by side, with the same axes.

    Arguments:
        n: How many.
        title: Above all of them.
    """
    figure = Picture(0.6 + 2.6 * n, 3.4)
    axes = list(figure.subplots(1, n, sharex=True, sharey=True, squeeze=False)[0])
    figure.suptitle(title)
    return figure, axes


def scatters(named: Named, look: Look, title: str) -> Picture:
    """Points in the plane; data is drawn in blue. The arguments are those of :func:`sequence`."""
    figure, axes = panels(len(named), title)
    for panel, (name, state) in zip(axes, named, strict=True):
        dots(panel, state, name, "tab:blue" if state is look.examples else "tab:orange")
    limit(axes[0], torch.cat([state for _, state in named]))
    return figure


def dots(axes: Axes, points: Tensor, title: str, colour: str) -> None:
    """Points in one panel.

    Arguments:
        axes: The panel.
        points: [n, 2]; some of them are drawn.
        title: Above the panel.
        colour: Of the points.
    """
    across, up = points[:POINTS].double().T.numpy()
    size = min(max(2000 / len(across), 4.0), 16.0)
    axes.scatter(across, up, s=size, alpha=0.6, color=colour, linewidths=0)
    axes.set_title(title)
    axes.set_aspect("equal")


def limit(axes: Axes, points: Tensor) -> float:
    """Shows all but the outermost points, the same along both axes, and gives how far that is.

    Arguments:
        axes: The panel.
        points: [n, 2].
    """
    reach = 1.15 * float(points.double().abs().quantile(0.995))
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach))
    for axis in (axes.xaxis, axes.yaxis):  # as many ticks in any size: the layout leaves room for the labels that it sees
        axis.set_major_locator(MaxNLocator(TICKS))
    return reach


def rasters(named: Named, look: Look, title: str, side: str) -> Picture:
    """Rows of pixels, one for each sample; the arguments are those of :func:`sequence`."""
    figure, axes = panels(len(named), title)
    for panel, (name, state) in zip(axes, named, strict=True):
        raster(panel, state, name, look)
    axes[0].set_ylabel(side)
    return figure


def raster(axes: Axes, state: Tensor, title: str, look: Look) -> None:
    """Rows of pixels in one panel.

    Arguments:
        axes: The panel.
        state: [n, elements].
        title: Above the panel.
        look: What becomes black and white.
    """
    axes.imshow(state[:MOST_ROWS].double().numpy(), cmap="gray", vmin=look.low, vmax=look.high, aspect="auto", interpolation="nearest")
    axes.set_title(title)
    axes.set_xlabel("element")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
