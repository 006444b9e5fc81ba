"""What a run logged, as curves."""

from __future__ import annotations

from pathlib import Path

from chainkit.evaluation import number
from chainkit.metrics import MetricsLog
from chainkit_figures.picture import Picture

PLACES = ("update", "epoch", "rate")
"""Entries of a line that say where it was logged; all others are figures."""


def training_curves(path: Path) -> Picture | None:
    """One panel per figure, by update; None if nothing was logged.

    Arguments:
        path: ``metrics.jsonl`` of a run.
    """
    lines = MetricsLog(path).read()
    names = list(dict.fromkeys(name for line in lines for name in line if name not in PLACES))
    if not names:
        return None
    figure, told = Picture(7, 0.6 + 2.2 * len(names)), []
    for axes, name in zip(figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0], names, strict=True):
        points = [(line["update"], line[name]) for line in lines if name in line]
        axes.plot(*zip(*points, strict=True), marker="." if len(points) < 30 else "")
        axes.set_title(name)
        axes.grid(alpha=0.3)
        told.append(f"{name} from {number(points[0][1])} at update {points[0][0]} to {number(points[-1][1])} at update {points[-1][0]}")
    axes.set_xlabel("update")
    figure.title, figure.words = "Training", f"Curves of what was logged while training: {'; '.join(told)}."
    return figure
