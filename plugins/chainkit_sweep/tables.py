"""The results of a sweep as tables: JSON, CSV and Markdown."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from chainkit.evaluation import number
from chainkit_sweep.grid import short_keys
from chainkit_sweep.plan import Sweep
from chainkit_sweep.results import Cell, Swept

NONE = "–"
ERRORS = ("error_seeds", "error_examples", "error_walks")
ABOUT = """
Means over training seeds. Three standard errors, of different things: over training seeds (another seed gives another model),
over examples and over walks (the same examples and random numbers judge every seed, so that no number of seeds makes these smaller).
"""


def as_json(sweep: Sweep, figures: Sequence[Swept], failed: Mapping[str, int]) -> dict[str, Any]:
    """All of the results.

    Arguments:
        sweep: The sweep.
        figures: What was found.
        failed: Exit codes of the runs that failed, by name.
    """
    return {
        "recipe": sweep.recipe,
        "set": list(sweep.overrides),
        "grid": {axis.key: list(axis.values) for axis in sweep.axes},
        "seeds": list(sweep.seeds),
        "states": {point.name: sweep.state(point) for point in sweep.points},
        "failed": dict(failed),
        "figures": [_figure(figure) for figure in figures],
    }


def _figure(figure: Swept) -> dict[str, Any]:
    estimate = figure.estimate
    cells = [{**attrs.asdict(cell), "mean": cell.mean, "error_seeds": cell.error_seeds} for cell in figure.cells]
    about = {
        key: getattr(estimate, key) for key in ("meaning", "unit", "examples", "split", "preparation", "likelihood", "lower_is_better")
    }
    return {"figure": figure.label, **about, "comparable": figure.comparable, "cells": cells}


def as_csv(sweep: Sweep, figures: Sequence[Swept]) -> str:
    """One line for each figure at each setting; nothing stands for what is not known.

    Arguments:
        sweep: The sweep.
        figures: What was found.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*[axis.key for axis in sweep.axes], "figure", "unit", "seeds", "mean", *ERRORS])
    for figure in figures:
        for cell in figure.cells:
            numbers = [getattr(cell, field) for field in ("mean", *ERRORS)]
            writer.writerow([*cell.settings.values(), figure.label, figure.estimate.unit, len(cell.seeds), *numbers])
    return text.getvalue()


def as_markdown(sweep: Sweep, figures: Sequence[Swept]) -> str:
    """One table for each figure, the best value in bold where it is known which is.

    Arguments:
        sweep: The sweep.
        figures: What was found.
    """
    grid = " by ".join(f"`{axis.key}`" for axis in sweep.axes) or "training seeds"
    fixed = f" with {' '.join(f'`{override}`' for override in sweep.overrides)}" if sweep.overrides else ""
    title = f"# {sweep.recipe}: {grid}\n\nSeeds {', '.join(map(str, sweep.seeds))}{fixed}.\n"
    return "\n".join([title + ABOUT, *[_section(sweep, figure) for figure in figures]])


def _section(sweep: Sweep, figure: Swept) -> str:
    estimate = figure.estimate
    apart = "" if figure.comparable else " The runs differ in their data: these are different quantities, which do not compare."
    about = f"{estimate.meaning}, {estimate.unit}, on {estimate.examples} {estimate.split} examples ({estimate.preparation}).{apart}"
    head = [*[axis.key for axis in sweep.axes], "mean", "± seeds", "± examples", "± walks", "seeds"]
    rows = [head, ["---"] * len(head), *[_row(cell, bold=cell is figure.best) for cell in figure.cells]]
    return f"## {figure.label}\n\n{about}\n\n" + "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def _row(cell: Cell, *, bold: bool) -> list[str]:
    mean, *errors = [NONE if value is None else number(value) for value in (cell.mean, *[getattr(cell, field) for field in ERRORS])]
    values = [value.replace("|", r"\|") for value in cell.settings.values()]
    return [*values, f"**{mean}**" if bold else mean, *errors, str(len(cell.seeds))]


def lines(sweep: Sweep, figure: Swept) -> list[tuple[str, ...]]:
    """A figure for the terminal, in columns.

    Arguments:
        sweep: The sweep.
        figure: One of its figures.
    """
    short = short_keys([axis.key for axis in sweep.axes])
    head = (*short.values(), f"{figure.label} ({figure.estimate.unit})", "± seeds", "± examples", "± walks", "seeds")
    return [head, *[tuple(_row(cell, bold=False)) for cell in figure.cells]]
