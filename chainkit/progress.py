"""Where training stands."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import attrs
import torch
from torch import Tensor


def _count(instance: Any, attribute: Any, value: Any) -> None:
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError(f"{attribute.name} is a count, not {value!r:.40}")


def _checkpoint(instance: Any, attribute: Any, value: Any) -> None:
    if value is not None and not re.fullmatch(r"[0-9]{8,}", value):
        raise ValueError(f"{attribute.name} is the name of a checkpoint, not {value!r:.40}")


@attrs.define
class Progress:
    """Where training stands; plain numbers, kept in every checkpoint.

    Arguments:
        update: Updates done.
        epoch: Epochs finished.
        position: Batches done in the present epoch.
        loss: Sum of the losses since the last line of the metrics.
        losses: How many they are.
        metrics: Sum and number of every metric of the losses since then.
        best: Best validation figure so far, by its merit (:class:`chainkit.estimator.Estimate`).
        best_checkpoint: Name of the checkpoint that it belongs to.
        stale: Validations since then.
        closed: Epochs whose validation and checkpoint are done.
        stopped: Whether early stopping ended training.
        stacked: Whether the steps of a walk are trained together (:mod:`chainkit.stacking`); None
            until the first update finds out.

    Raises:
        ValueError: A count is none, or the checkpoint's name is none.
    """

    update: int = attrs.field(default=0, validator=_count)
    epoch: int = attrs.field(default=0, validator=_count)
    position: int = attrs.field(default=0, validator=_count)
    loss: float = 0.0
    losses: int = attrs.field(default=0, validator=_count)
    metrics: dict[str, tuple[float, int]] = attrs.field(factory=dict)
    best: float | None = None
    best_checkpoint: str | None = attrs.field(default=None, validator=_checkpoint)
    stale: int = attrs.field(default=0, validator=_count)
    closed: int = attrs.field(default=0, validator=_count)
    stopped: bool = False
    stacked: bool | None = None

    def note(self, loss: float, metrics: Mapping[str, list[Tensor]]) -> None:
        """Adds what one update found."""
        self.loss += loss
        self.losses += 1
        for name, values in metrics.items():
            total, count = self.metrics.get(name, (0.0, 0))
            self.metrics[name] = (total + float(torch.stack(values).sum()), count + len(values))

    def judge(self, merit: float) -> bool:
        """Takes note of the merit of this update's validation figure; true if it is the best so far."""
        improved = self.best is None or merit > self.best
        if improved:
            self.best, self.best_checkpoint, self.stale = merit, f"{self.update:08d}", 0
        else:
            self.stale += 1
        return improved

    def take(self) -> dict[str, float]:
        """The mean loss and metrics since they were last taken."""
        means = {name: total / count for name, (total, count) in self.metrics.items()}
        if self.losses:
            means["loss"] = self.loss / self.losses
        self.loss, self.losses, self.metrics = 0.0, 0, {}
        return means
