"""What a line of ``metrics.jsonl`` holds: where it was logged, metrics, and the standard errors of those that have some."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from chainkit.estimator import Estimate

PLACES = ("update", "epoch")
"""Entries that say where a line was logged; all others are metrics."""
ERROR = " (standard error)"
"""What follows the name of a metric in the name of its standard error."""


def watched(split: str, estimates: Iterable[Estimate]) -> dict[str, float]:
    """Figures that are watched while training as entries of a line.

    Arguments:
        split: The split that they are about.
        estimates: The figures.

    Returns:
        Values by split and name, each with its standard error behind it, if it has one.
    """
    entries = {}
    for estimate in estimates:
        name = f"{split} {estimate.name}"
        entries[name] = estimate.value
        if estimate.error is not None:
            entries[name + ERROR] = estimate.error
    return entries


def metric_names(lines: Iterable[Mapping[str, Any]]) -> list[str]:
    """The metrics of some lines, in the order in which they first appear; standard errors are no metrics of their own.

    Arguments:
        lines: The lines.
    """
    found = dict.fromkeys(name for line in lines for name in line if name not in PLACES)
    return [name for name in found if not (name.endswith(ERROR) and name.removesuffix(ERROR) in found)]
