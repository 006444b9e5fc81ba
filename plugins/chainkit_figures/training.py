"""What a run logged, as curves, beside the figures at its end (infusion paper, figure 3.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from statistics import fmean
from typing import Any

from matplotlib.axes import Axes

from chainkit.estimator import Estimate
from chainkit.evaluation import number
from chainkit.logged import ERROR, metric_names
from chainkit.run_record import RunRecord
from chainkit_figures.picture import Picture

MARKED = 30
Lines = Sequence[Mapping[str, Any]]


def training_curves(record: RunRecord) -> Picture | None:
    """What was logged, by update: likelihoods in one panel, each other metric in its own; None if nothing was.

    Likelihoods that were watched have bands of one standard error, and the likelihoods at the end,
    with theirs, beside them. Metrics that were logged several times an epoch have their means over it.

    Arguments:
        record: The run.
    """
    names = [name for name in metric_names(record.metrics) if name != "rate"]
    if not names:
        return None
    ends = _comparable(names, [figure.estimate for figure in record.figures])
    likelihoods = [name for name in names if _end_of(name, ends) is not None]
    panels = [[name] for name in names if name not in likelihoods] + ([likelihoods] if likelihoods else [])
    picture = Picture(7.5, 0.9 + 2.4 * len(panels))
    row, told = picture.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0], []
    for axes, panel in zip(row, panels, strict=True):
        told += _watched(axes, panel, record.metrics, ends) if panel is likelihoods else _trained(axes, panel[0], record.metrics)
        axes.grid(alpha=0.3)
    row[-1].set_xlabel("update")
    picture.title, picture.words = "Training", f"Curves of what was logged while training: {'; '.join(told)}."
    return picture


def _comparable(names: Sequence[str], estimates: Sequence[Estimate]) -> list[Estimate]:
    """The likelihoods at the end, the last of each name, that have the unit and preparation of the first that was watched."""
    likelihoods = {estimate.name: estimate for estimate in estimates if estimate.likelihood}
    own = next((end for name in names if (end := _end_of(name, list(likelihoods.values()))) is not None), None)
    kept = [] if own is None else [each for each in likelihoods.values() if (each.unit, each.preparation) == (own.unit, own.preparation)]
    return sorted(kept, key=lambda each: not any(_end_of(name, [each]) for name in names))


def _end_of(name: str, ends: Sequence[Estimate]) -> Estimate | None:
    """The figure at the end that a curve is of: ``valid lower bound`` is one of ``lower bound``."""
    return next((estimate for estimate in ends if name.endswith(f" {estimate.name}")), None)


def _trained(axes: Axes, name: str, lines: Lines) -> list[str]:
    """Draws a metric of training as it was logged, and its mean over each epoch if there is more of it than that."""
    found = [line for line in lines if name in line]
    epochs = [list(group) for _, group in groupby(found, key=lambda line: line.get("epoch"))]
    means = 1 < len(epochs) < len(found)
    _curve(axes, name, found, alpha=0.4 if means else 1.0, color="C0", label="as logged")
    if means:
        of_epochs = [(fmean(line["update"] for line in epoch), fmean(line[name] for line in epoch)) for epoch in epochs]
        axes.plot(*zip(*of_epochs, strict=True), color="C0", label="mean of each epoch")
        axes.legend(fontsize="small")
    axes.set_title(name)
    return [_told(name, found)]


def _watched(axes: Axes, names: Sequence[str], lines: Lines, ends: Sequence[Estimate]) -> list[str]:
    """Draws figures that were watched, with their errors, and the likelihoods at the end."""
    told, colours = [], {estimate.name: f"C{place}" for place, estimate in enumerate(ends)}
    for name in names:
        found, end = [line for line in lines if name in line], _end_of(name, ends)
        assert end is not None
        _curve(axes, name, found, color=colours[end.name], label=name)
        told.append(_told(name, found))
    last = max(line["update"] for line in lines)
    for place, estimate in enumerate(ends):
        colour, label = colours[estimate.name], f"{estimate.name}, {estimate.examples} {estimate.split} examples"
        axes.axhline(estimate.value, color=colour, linestyle="--", linewidth=1)
        at = last * (1 + 0.02 * place)
        axes.errorbar([at], [estimate.value], [estimate.error or 0.0], color=colour, linestyle="--", marker="o", capsize=4, label=label)
        told.append(f"at the end {estimate.name} {number(estimate.value)} {estimate.unit} on {estimate.split} examples")
    axes.set(title=", ".join(names), ylabel=ends[0].unit)
    axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(0.0, -0.22), ncols=2)
    return told


def _curve(axes: Axes, name: str, found: Lines, **style: Any) -> None:
    """Draws a metric by update, with a band of one standard error where it has one."""
    places, values = [line["update"] for line in found], [line[name] for line in found]
    axes.plot(places, values, marker="." if len(found) < MARKED else "", **style)
    if all(name + ERROR in line for line in found):
        low, high = zip(*[(line[name] - line[name + ERROR], line[name] + line[name + ERROR]) for line in found], strict=True)
        axes.fill_between(places, low, high, color=style["color"], alpha=0.2, linewidth=0)


def _told(name: str, found: Lines) -> str:
    first, last = ((number(line[name]), line["update"]) for line in (found[0], found[-1]))
    return f"{name} from {first[0]} at update {first[1]} to {last[0]} at update {last[1]}"
