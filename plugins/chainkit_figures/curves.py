"""The curves of estimates: how a figure depends on the number of walks, on the step, or on anything else."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from chainkit.curve import Curve
from chainkit.estimator import Estimate

MARKED = 30


def drawn_curves(estimates: Sequence[Estimate]) -> dict[str, Figure]:
    """One figure for each name of a curve, one panel in it for each curve of that name.

    Arguments:
        estimates: The estimates, with or without curves.
    """
    named: dict[str, list[tuple[str, Curve]]] = {}
    for estimate in estimates:
        for curve in estimate.curves:
            named.setdefault(curve.name, []).append((estimate.name, curve))
    return {name: _panels(curves) for name, curves in named.items()}


def _panels(curves: Sequence[tuple[str, Curve]]) -> Figure:
    figure = Figure(figsize=(7, 0.6 + 2.8 * len(curves)), dpi=120, layout="constrained")
    for axes, (estimate, curve) in zip(figure.subplots(len(curves), 1, squeeze=False)[:, 0], curves, strict=True):
        _draw(axes, curve)
        axes.set_title(estimate)
    return figure


def _draw(axes: Axes, curve: Curve) -> None:
    places, values, errors = zip(*curve.points, strict=True)
    bars = None if all(error is None for error in errors) else [error or 0.0 for error in errors]
    axes.errorbar(places, values, bars, marker="." if len(places) < MARKED else "", capsize=2, label=f"± {curve.error}")
    axes.set_xscale(curve.scale)
    axes.set_xlabel(curve.x)
    axes.set_ylabel(f"{curve.y}\n({curve.unit})")
    axes.grid(alpha=0.3)
    if bars is not None:
        axes.legend()
