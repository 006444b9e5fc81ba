r"""What a sweep found: every figure at every setting, over training seeds.

With v_1..v_n the values of n training seeds, e_i their standard errors over examples, or over walks:

.. math:: \bar v = \frac1n \sum_i v_i, \qquad
    e_\text{seeds} = \sqrt{\frac{\sum_i (v_i - \bar v)^2}{n (n - 1)}}, \qquad
    e \le \frac1n \sum_i e_i

The errors over examples and over walks are those of the mean at most: the seeds are judged on the
same examples from the same random numbers, so that nothing may be taken off for their number. The
error over seeds is of the values as they were measured, and so has what walks add to each of them.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

import attrs

from chainkit.comparison import Quantity, told_apart
from chainkit.errors import CheckpointError
from chainkit.estimator import Estimate
from chainkit.run_record import Figure
from chainkit_sweep.grid import Point, combinations
from chainkit_sweep.plan import Sweep

Found: TypeAlias = dict[str, tuple[Figure, Quantity]]
"""A figure of runs, by their names."""


@attrs.frozen(kw_only=True)
class Cell:
    """A figure at one setting of the grid.

    Arguments:
        settings: The value of every key of the grid.
        seeds: Training seeds of the runs that have the figure; none if no run has it.
        values: The figure of each of them.
        error_examples: Largest possible standard error of their mean over examples; None where a figure has none.
        error_walks: The same over walks.
    """

    settings: Mapping[str, str]
    seeds: tuple[int, ...] = ()
    values: tuple[float, ...] = ()
    error_examples: float | None = None
    error_walks: float | None = None

    @property
    def mean(self) -> float | None:
        """Mean over training seeds; None where there is none."""
        return statistics.fmean(self.values) if self.values else None

    @property
    def error_seeds(self) -> float | None:
        """Standard error of the mean over training seeds; None for fewer than two."""
        return statistics.stdev(self.values) / math.sqrt(len(self.values)) if len(self.values) > 1 else None

    @property
    def error(self) -> float | None:
        """The error that a picture shows: over training seeds, or over examples and walks where there is one seed."""
        if self.error_seeds is not None:
            return self.error_seeds
        errors = [error for error in (self.error_examples, self.error_walks) if error is not None]
        return math.hypot(*errors) if errors else None


@attrs.frozen(kw_only=True)
class Swept:
    """A figure over the grid.

    Arguments:
        label: The estimator, with the number of walks and the settings in which figures of one name differ.
        estimate: The figure of one of the runs, for what all have in common.
        comparable: Whether the runs have figures of one quantity (:class:`chainkit.comparison.Quantity`).
        cells: The figure at every setting, in the order of the grid.
    """

    label: str
    estimate: Estimate
    comparable: bool
    cells: tuple[Cell, ...]

    @property
    def best(self) -> Cell | None:
        """The setting of the best mean; None where no direction is known to be better, quantities differ or all are the same."""
        ranked = self.comparable and self.estimate.directed and len({cell.mean for cell in self.cells}) > 1
        return self.best_of(self.cells) if ranked else None

    def best_of(self, cells: Sequence[Cell]) -> Cell | None:
        """The cell of the highest mean, or of the lowest where lower is better; None where none has one.

        Arguments:
            cells: Some of the cells.
        """
        found = [cell for cell in cells if cell.values]
        choose = min if self.estimate.lower_is_better else max
        return choose(found, key=lambda cell: statistics.fmean(cell.values)) if found else None


def collected(sweep: Sweep) -> list[Swept]:
    """The figures that the runs of a sweep have by now, those on the split that the recipe evaluates on.

    Arguments:
        sweep: The sweep.
    """
    found: dict[tuple[str, int, str], Found] = {}
    for point in sweep.points:
        for figure, quantity in _figures(sweep, point):
            key = figure.estimate.name, figure.estimate.walks, json.dumps(figure.settings, sort_keys=True)
            found.setdefault(key, {})[point.name] = figure, quantity
    return [_swept(label, sweep, runs) for label, runs in zip(_labels(list(found.values())), found.values(), strict=True)]


def _labels(found: Sequence[Found]) -> list[str]:
    """What figures are called, each by the figure of one of the runs."""
    figures = [next(iter(runs.values()))[0] for runs in found]
    labels = []
    for figure in figures:
        others = [other for other in figures if other.estimate.name == figure.estimate.name]
        several = len({other.estimate.walks for other in others}) > 1
        apart = told_apart(others)[others.index(figure)]
        labels.append(", ".join([figure.estimate.name, *[f"{figure.estimate.walks} walks"] * several, *[apart] * bool(apart)]))
    return labels


def _figures(sweep: Sweep, point: Point) -> Iterator[tuple[Figure, Quantity]]:
    try:
        record = sweep.record(point)
    except CheckpointError:  # its own job has said so
        return
    for figure in record.figures if record else ():
        if record is not None and figure.estimate.split == record.recipe["evaluate"]["split"]:
            yield figure, Quantity.of(figure, record.recipe["data"])


def _swept(label: str, sweep: Sweep, found: Found) -> Swept:
    cells = []
    for settings in combinations(sweep.axes):
        runs = [point for point in sweep.points if point.settings == settings and point.name in found]
        estimates = [found[point.name][0].estimate for point in runs]
        cells.append(
            Cell(
                settings=settings,
                seeds=tuple(point.seed for point in runs),
                values=tuple(estimate.value for estimate in estimates),
                error_examples=_mean([estimate.error_examples for estimate in estimates]),
                error_walks=_mean([estimate.error_walks for estimate in estimates]),
            )
        )
    first = next(iter(found.values()))[0].estimate
    return Swept(label=label, estimate=first, comparable=len({quantity for _, quantity in found.values()}) == 1, cells=tuple(cells))


def _mean(errors: Sequence[float | None]) -> float | None:
    """Mean of errors; None where one is not known, or there is none."""
    known = [error for error in errors if error is not None]
    return statistics.fmean(known) if known and len(known) == len(errors) else None
