"""Whether the gradients of batches come from a graph: asked for, or unasked where it is known to pay and to be safe."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

import torch
from torch import nn

from chainkit.batch import Batch
from chainkit.distributed import current
from chainkit.graphs import KINDS, Gradients, Graph, Graphed, graphed
from chainkit.interleaving import NotReplayable
from chainkit.optimisation import DEFAULT, Optimisers
from chainkit.tape import Tape

WORTH = 1000
"""Updates that must be left for a graph that nobody has asked for: to record it and to try it takes the time of eight."""

LONG = 2.0
"""Seconds of an update from which on none is recorded unasked: of such a one Python is a small share."""

MOST = 5000
"""Operations of an update that a graph holds unasked: they take some kilobytes each while Python compiles them."""

UNASKED: Mapping[str, Callable[[torch.device], Graph]] = MappingProxyType({"cpu": partial(Tape, most=MOST)})
"""Kinds of graphs that need not be asked for, by the type of device."""


class Recording:
    """The graph of a model's gradients, recorded when the first of them are wanted.

    Arguments:
        model: The model.
        optimisers: The optimisers of the parameters that the gradients are for.
        device: Where they are.
        asked: Whether it is asked for; None is for it to be decided here.
        steady: Whether all parts of the model state that they are (:class:`chainkit.component.Component`).

    Attributes:
        graphed: The graph, once there is one.
        why_not: Why there is none; None before it is known.
    """

    def __init__(self, model: nn.Module, optimisers: Optimisers, device: torch.device, *, asked: bool | None, steady: bool) -> None:
        self.model = model
        self.optimisers = optimisers
        self.device = device
        self.asked = asked
        self.steady = steady
        self.graphed: Graphed | None = None
        self.why_not: str | None = None
        self._began: list[float] = []

    def graph(self, gradients: Gradients, batch: Batch, *, restore: Callable[[], None], left: int) -> Graphed | None:
        """The graph, as long as what Python keeps of the model is what it was when it was recorded; None without one.

        Arguments:
            gradients: What to record, see :class:`~chainkit.graphs.Graphed`.
            batch: A batch to try it with.
            restore: Puts the model back as it was.
            left: Updates left.
        """
        if self.graphed is None and self.why_not is None and self._is_timed():
            self.why_not = self._why_unwanted(left) or self._why_impossible()
            if self.why_not is None:
                self._record(gradients, batch, restore)
        if self.graphed is not None and (name := self.graphed.attributes.changed()) is not None:
            self.graphed, self.why_not = None, f"{name} has changed since an update was recorded"
        return self.graphed

    def _is_timed(self) -> bool:
        """Whether it is known how long an update takes, if that matters: the first one waits for much that is done once."""
        self._began.append(time.monotonic())
        return self.asked is not None or len(self._began) > 2

    def _why_unwanted(self, left: int) -> str | None:
        if self.asked is not None:
            return None if self.asked else "none is wanted"
        if not self.steady:
            return "not all parts of the model state that they are steady"
        if self._began[-1] - self._began[-2] > LONG:
            return f"an update takes more than {LONG:g} s"
        return f"fewer than {WORTH} updates are left" if left < WORTH else None

    def _why_impossible(self) -> str | None:
        if self.device.type not in self._kinds:
            return f"there are no graphs on {self.device}"
        return "several processes meet within an update" if current().size > 1 else None

    @property
    def _kinds(self) -> Mapping[str, Callable[[torch.device], Graph]]:
        return KINDS if self.asked else UNASKED

    def _record(self, gradients: Gradients, batch: Batch, restore: Callable[[], None]) -> None:
        try:
            graph, parameters = self._kinds[self.device.type](self.device), self.optimisers.parameters(DEFAULT)
            self.graphed = graphed(gradients, parameters, batch, model=self.model, graph=graph, restore=restore)
        except Exception as error:  # whatever it is, it is raised again without a graph, if it is the model's
            restore()
            self.why_not = str(error) if isinstance(error, NotReplayable) else f"{type(error).__name__}: {error}"
