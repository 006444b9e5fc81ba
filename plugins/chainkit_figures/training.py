"""What a run logged, as curves, beside the figures at its end (infusion paper, figure 3.3)."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from chainkit.estimator import Estimate
from chainkit.evaluation import number
from chainkit.run_record import RunRecord
from chainkit_figures.picture import Picture

PLACES = ("update", "epoch", "rate")
"""Entries of a line that say where it was logged; all others are figures."""


def training_curves(record: RunRecord) -> Picture | None:
    """One panel for every figure that was logged, by update; None if nothing was.

    A likelihood that was watched has the likelihoods at the end beside its curve, with their errors.

    Arguments:
        record: The run.
    """
    lines = record.metrics
    names = list(dict.fromkeys(name for line in lines for name in line if name not in PLACES))
    if not names:
        return None
    figure, told = Picture(7.5, 0.6 + 2.4 * len(names)), []
    for axes, name in zip(figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0], names, strict=True):
        points = [(line["update"], line[name]) for line in lines if name in line]
        axes.plot(*zip(*points, strict=True), marker="." if len(points) < 30 else "", label=name)
        axes.set_title(name)
        axes.grid(alpha=0.3)
        told.append(f"{name} from {number(points[0][1])} at update {points[0][0]} to {number(points[-1][1])} at update {points[-1][0]}")
        told += _beside(axes, name, record, points[-1][0])
    axes.set_xlabel("update")
    figure.title, figure.words = "Training", f"Curves of what was logged while training: {'; '.join(told)}."
    return figure


def _beside(axes: Axes, name: str, record: RunRecord, update: int) -> list[str]:
    """Draws the likelihoods at the end, if this is the curve of one of them."""
    estimates = [figure.estimate for figure in record.figures]
    own = next((estimate for estimate in estimates if name.endswith(f" {estimate.name}")), None)
    if own is None:
        return []
    axes.set_ylabel(own.unit)
    shown = _comparable(own, estimates) if own.likelihood else []
    for place, estimate in enumerate(shown):
        label = f"{estimate.name}, {estimate.examples} {estimate.split} examples"
        colour = f"C{place + 1}"
        axes.axhline(estimate.value, color=colour, linestyle="--", linewidth=1)
        axes.errorbar(
            [update * (1 + 0.02 * place)], [estimate.value], [estimate.error or 0.0], color=colour, marker="o", capsize=4, label=label
        )
    axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(0.0, -0.22), ncols=2)
    return [f"at the end {estimate.name} {number(estimate.value)} {estimate.unit} on {estimate.split} examples" for estimate in shown]


def _comparable(own: Estimate, estimates: Sequence[Estimate]) -> list[Estimate]:
    """The likelihoods of the unit and preparation of one of them, the last of each name."""
    found = {each.name: each for each in estimates if each.likelihood and (each.unit, each.preparation) == (own.unit, own.preparation)}
    return list(found.values())
