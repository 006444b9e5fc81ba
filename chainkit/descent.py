"""One update: losses in, gradients summed, optimisers stepped where that is due."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from chainkit.errors import RecipeError
from chainkit.interleaving import NotReplayable
from chainkit.objective import Loss
from chainkit.optimisation import DEFAULT, Optimisers
from chainkit.sharing import sum_gradients
from chainkit.snapshot import Snapshot


class Descent:
    """Follows streams of losses, calling backward on each as it comes and updating where due.

    Arguments:
        optimisers: The optimisers of the parameter sets.
        before: The model as it was; completed before the first of several updates.
        scale: Weight of a loss.
        per_step: Whether an update follows every loss that does not say otherwise.
        accumulate: Batches whose gradients are added up for one update.
        autocast: Makes a fresh region of autocast, or of none.
    """

    def __init__(
        self,
        optimisers: Optimisers,
        before: Snapshot,
        scale: float,
        *,
        per_step: bool,
        accumulate: int = 1,
        autocast: Callable[[bool], AbstractContextManager[Any]],
    ) -> None:
        self.optimisers = optimisers
        self.before = before
        self.scale = scale
        self.per_step = per_step
        self.accumulate = accumulate
        self.autocast = autocast
        self.touched: dict[str, Tensor] = {}
        self.metrics: dict[str, list[Tensor]] = {}
        self.total = 0.0
        self.losses = 0

    def follow(self, losses: Iterator[Loss]) -> None:
        """Takes a stream of losses to its end, with the updates that it asks for.

        Raises:
            RecipeError: It asks for one, where gradients of several batches are to be added up first.
        """
        due: str | None = ""
        while due is not None:
            with self.autocast(True):
                due = self._backward(losses)
            if due is not None:
                if self.accumulate > 1:
                    raise RecipeError(f"train.accumulate: {self.accumulate} batches need an objective that asks for no updates of its own")
                self.before.complete()
                self._apply(due)

    def gather(self, losses: Iterator[Loss]) -> Loss:
        """Takes a stream of losses to its end without an update; gives their sum, weighted, and the means of what comes with them.

        Raises:
            NotReplayable: They ask for updates, or reach sets of parameters beside the default one.
        """
        with self.autocast(True):
            if self._backward(losses) is not None:
                raise NotReplayable("an update follows every step")
        if list(self.touched) != [DEFAULT]:
            raise NotReplayable(f"the losses reach the sets {', '.join(sorted(self.touched))} of parameters")
        return Loss(value=self.touched[DEFAULT], metrics={name: torch.stack(found).mean() for name, found in self.metrics.items()})

    def add(self, name: str, value: Tensor, metrics: Mapping[str, Tensor]) -> None:
        """Notes a loss whose gradients are there.

        Arguments:
            name: The set of parameters that it reaches.
            value: The loss, weighted, a scalar without a graph.
            metrics: What comes with it.
        """
        self.losses += 1
        self.touched[name] = self.touched[name] + value if name in self.touched else value
        for metric, number in metrics.items():
            self.metrics.setdefault(metric, []).append(number.detach())

    def finish(self) -> None:
        """Makes the updates that no loss has asked for."""
        if len(self.touched) > 1:
            self.before.complete()
        for name in list(self.touched):
            self._apply(name)

    def _backward(self, losses: Iterator[Loss]) -> str | None:
        """Takes losses until an update is due, and names its set; None when there are no more."""
        several = len(self.optimisers.sets) > 1
        for loss in losses:
            name = loss.parameters or DEFAULT
            reached = self.optimisers.parameters(name)
            # Operations run backward in the type that they ran forward in, which autocast must not change.
            with self.autocast(False):
                (loss.value * self.scale).backward(inputs=reached if several else None)
            self.add(name, loss.value.detach() * self.scale, loss.metrics)
            if self.per_step if loss.update is None else loss.update:
                return name
        return None

    def _apply(self, name: str) -> None:
        loss = sum_gradients(self.optimisers.parameters(name), self.touched.pop(name))
        self.total += self.optimisers.apply(name, loss)
