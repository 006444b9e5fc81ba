"""The curves of estimates: how a figure depends on the number of walks, on the step, or on anything else."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor, log10
from statistics import median

from matplotlib.axes import Axes

from chainkit.curve import Curve
from chainkit.estimator import Estimate
from chainkit.evaluation import number
from chainkit_figures.picture import Picture

MARKED = 30
OUTLYING = 30.0
"""How far beyond the middle one the largest value of a curve lies where the others would look like zero on a linear axis."""


def drawn_curves(estimates: Sequence[Estimate]) -> dict[str, Picture]:
    """One figure for each name of a curve, one panel in it for each curve of that name.

    Arguments:
        estimates: The estimates, with or without curves.
    """
    named: dict[str, list[tuple[str, Curve]]] = {}
    for estimate in estimates:
        for curve in estimate.curves:
            named.setdefault(curve.name, []).append((f"{estimate.name}, {estimate.examples} {estimate.split} examples", curve))
    return {name: _panels(curves) for name, curves in named.items()}


def _panels(curves: Sequence[tuple[str, Curve]]) -> Picture:
    figure = Picture(7, 0.6 + 2.8 * len(curves))
    for axes, (estimate, curve) in zip(figure.subplots(len(curves), 1, squeeze=False)[:, 0], curves, strict=True):
        _draw(axes, curve)
        axes.set_title(estimate)
    y, x = curves[0][1].y, curves[0][1].x
    figure.title = f"{y[:1].upper()}{y[1:]} by {x}"
    figure.words = " ".join(_told(estimate, curve) for estimate, curve in curves)
    return figure


def _told(estimate: str, curve: Curve) -> str:
    (first, start, _), (last, end, _) = curve.points[0], curve.points[-1]
    way = f"from {number(start)} at {first:g} to {number(end)} at {last:g}"
    return f"Curve of {estimate}: {curve.y} in {curve.unit}, by {curve.x}, {way}."


def _draw(axes: Axes, curve: Curve) -> None:
    places, values, errors = zip(*curve.points, strict=True)
    bars = None if all(error is None for error in errors) else [error or 0.0 for error in errors]
    axes.errorbar(places, values, bars, marker="." if len(places) < MARKED else "", capsize=2, label=f"± {curve.error}")
    axes.set_xscale(curve.scale)
    middle = median(map(abs, values))
    if 0 < OUTLYING * middle < max(map(abs, values)):
        axes.set_yscale("symlog", linthresh=10.0 ** floor(log10(middle)))
    axes.set_xlabel(curve.x)
    axes.set_ylabel(f"{curve.y}\n({curve.unit})")
    axes.grid(alpha=0.3)
    if bars is not None:
        axes.legend(loc="best" if len(places) < MARKED else "upper right")  # the best place takes long to find among many points
