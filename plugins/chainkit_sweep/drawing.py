"""A figure of a sweep as a picture: a heat map over two keys, a line over one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from chainkit.evaluation import number
from chainkit_figures.picture import Picture
from chainkit_sweep.grid import Axis, short_keys
from chainkit_sweep.plan import Sweep
from chainkit_sweep.results import Cell, Swept

DARK = 0.6
"""Share of the range of colours below which letters are white."""


def drawn(sweep: Sweep, figure: Swept) -> Picture | None:
    """A picture of one figure; None for a grid of none or of more than two keys, or of figures that do not compare.

    Arguments:
        sweep: The sweep.
        figure: One of its figures.
    """
    if not figure.comparable or len(sweep.axes) not in (1, 2):
        return None
    picture = _line(sweep.axes[0], figure) if len(sweep.axes) == 1 else _heat_map(sweep.axes[0], sweep.axes[1], figure)
    estimate, n = figure.estimate, len(sweep.seeds)
    keys = " and ".join(axis.key for axis in sweep.axes)
    picture.title = f"{figure.label} of {sweep.recipe} by {keys}"
    about = f"{estimate.meaning} in {estimate.unit} on {estimate.examples} {estimate.split} examples"
    picture.words = f"{about}, for {len(figure.cells)} settings of {keys}, {n} training seed{'s' * (n != 1)}; {_best(figure)}"
    picture.suptitle(f"{figure.label} on {estimate.examples} {estimate.split} examples\n{_error_words(figure)}", fontsize="medium")
    return picture


def _best(figure: Swept) -> str:
    cell = figure.best
    if cell is None or cell.mean is None:
        return "higher is not always better."
    side = "lowest" if figure.estimate.lower_is_better else "highest"
    return f"the {side} is {number(cell.mean)} at {', '.join(f'{key} = {value}' for key, value in cell.settings.items())}."


def _error_words(figure: Swept) -> str:
    seeds = max((len(cell.seeds) for cell in figure.cells), default=0)
    return f"mean ± standard error over {seeds} training seeds" if seeds > 1 else "one training seed; ± over examples and walks"


def _heat_map(across: Axis, up: Axis, figure: Swept) -> Picture:
    rows = len(up.values)
    columns = [figure.cells[start : start + rows] for start in range(0, len(figure.cells), rows)]
    means = np.array([[np.nan if cell.mean is None else cell.mean for cell in column] for column in columns]).T
    picture = Picture(2.6 + 1.25 * len(across.values), 1.9 + 0.62 * rows)
    axes = picture.add_subplot()
    image = axes.imshow(np.ma.masked_invalid(means), origin="lower", aspect="auto", cmap="viridis")
    axes.set_facecolor("0.85")
    axes.set_xticks(range(len(across.values)), across.values)
    axes.set_yticks(range(rows), up.values)
    axes.set(xlabel=across.key, ylabel=up.key)
    picture.colorbar(image, label=f"{figure.label} ({figure.estimate.unit})")
    light = np.nanmin(means) + DARK * (np.nanmax(means) - np.nanmin(means))
    for x, column in enumerate(columns):
        for y, cell in enumerate(column):
            _write(axes, x, y, cell, "white" if cell.mean is not None and cell.mean < light else "black")
    if figure.best:
        short = short_keys([across.key, up.key])
        axes.set_title(f"framed: the best {short[up.key]} for each {short[across.key]}", fontsize="small")
        _frame(axes, columns, figure)
    return picture


def _frame(axes: Axes, columns: Sequence[Sequence[Cell]], figure: Swept) -> None:
    """Frames the best cell of each column."""
    for x, column in enumerate(columns):
        if (best := figure.best_of(column)) is not None:
            place = (x - 0.47, column.index(best) - 0.46)
            axes.add_patch(Rectangle(place, 0.94, 0.92, fill=False, edgecolor="tab:red", linewidth=2.5))


def _write(axes: Axes, x: int, y: int, cell: Cell, colour: str) -> None:
    error = "" if cell.error is None else f"\n± {number(cell.error)}"
    text = "not\nfinished" if cell.mean is None else f"{number(cell.mean)}{error}"
    axes.text(x, y, text, ha="center", va="center", color=colour, fontsize="small")


def _line(axis: Axis, figure: Swept) -> Picture:
    places = axis.numbers or list(map(float, range(len(axis.values))))
    found = [(place, cell) for place, cell in zip(places, figure.cells, strict=True) if cell.values]
    picture = Picture(6, 4.2)
    axes = picture.add_subplot()
    means, errors = [cell.mean or 0.0 for _, cell in found], [cell.error or 0.0 for _, cell in found]
    axes.errorbar([place for place, _ in found], means, errors if any(errors) else None, marker="o", capsize=4, label="mean")
    if any(len(cell.values) > 1 for _, cell in found):
        dots = [(place, value) for place, cell in found for value in cell.values]
        axes.plot(*zip(*dots, strict=True), ".", color="0.5", label="one training seed", zorder=0)
        axes.legend()
    if axis.numbers is None:
        axes.set_xticks(places, axis.values)
    axes.set(xlabel=axis.key, ylabel=f"{figure.label} ({figure.estimate.unit})")
    axes.grid(alpha=0.3)
    return picture
