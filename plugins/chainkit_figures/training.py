"""What a run logged, as curves."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from chainkit.metrics import MetricsLog

PLACES = ("update", "epoch", "rate")
"""Entries of a line that say where it was logged; all others are figures."""


def training_curves(path: Path) -> Figure | None:
    """One panel per figure, by update; None if nothing was logged.

    Arguments:
        path: ``metrics.jsonl`` of a run.
    """
    lines = MetricsLog(path).read()
    names = list(dict.fromkeys(name for line in lines for name in line if name not in PLACES))
    if not names:
        return None
    figure = Figure(figsize=(7, 0.6 + 2.2 * len(names)), dpi=120, layout="constrained")
    for axes, name in zip(figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0], names, strict=True):
        points = [(line["update"], line[name]) for line in lines if name in line]
        axes.plot(*zip(*points, strict=True), marker="." if len(points) < 30 else "")
        axes.set_title(name)
        axes.grid(alpha=0.3)
    axes.set_xlabel("update")
    return figure
