"""Gradients that are launched as one graph.

A walk of small networks is bound by its launches: thousands of kernels of a few microseconds, each
started from Python. A graph records them once and starts them again: on a GPU CUDA's own, with one
launch, on a CPU a :class:`~chainkit.tape.Tape`. What it reads must then stand where it stood: a batch
is copied into the place of the first one, and a generator of its own is seeded for each launch, so
that the draws are those of kernels launched one at a time. Running statistics stay in place too.

Whether that gives the same numbers is found out before the first update is made so; and that nothing
has changed since in what Python keeps of the model, before every one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias, cast

import attrs
import torch
from torch import Tensor, nn

from chainkit.attributes import Attributes
from chainkit.batch import Batch
from chainkit.interleaving import NotReplayable
from chainkit.objective import Loss
from chainkit.random import Source
from chainkit.replay import require_close
from chainkit.states import map_state, tensors
from chainkit.tape import Tape

WARM_UP = 3
"""Calls before the recording: libraries choose their kernels and take their memory in the first ones."""

TRIALS = (0, 1)
"""Seeds with which a graph is compared with kernels launched one at a time."""

Gradients: TypeAlias = Callable[[Batch, Source], Loss]
Results: TypeAlias = Sequence[Tensor | None]


class Graph(Protocol):
    """What can be recorded once and launched again."""

    generator: torch.Generator
    exact: bool
    """Whether a launch must give the very numbers that are computed without it, to the last bit."""

    def aside(self) -> AbstractContextManager[Any]:
        """Where to call what is to be recorded, before it is."""
        ...

    def record(self, function: Callable[[], Results]) -> None:
        """Records a function."""
        ...

    def launch(self) -> Results:
        """Does again what was recorded; gives the results of this time, which no other launch changes."""
        ...


class CudaGraph:
    """torch's own graph.

    Arguments:
        device: A CUDA device.
    """

    exact = False

    def __init__(self, device: torch.device) -> None:
        self.generator = torch.Generator(device)
        self._stream = torch.cuda.Stream(device)
        self._graph = torch.cuda.CUDAGraph()
        self._graph.register_generator_state(self.generator)
        self._results: Results = []

    @contextmanager
    def aside(self) -> Iterator[None]:
        """The stream that records: what autograd keeps of another one would be waited for while recording."""
        usual = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(usual)
        with torch.cuda.stream(self._stream):
            yield
        usual.wait_stream(self._stream)

    def record(self, function: Callable[[], Results]) -> None:
        with torch.cuda.graph(self._graph, stream=self._stream):
            self._results = function()

    def launch(self) -> Results:
        self._graph.replay()
        return [None if result is None else result.clone() for result in self._results]


KINDS: Mapping[str, Callable[[torch.device], Graph]] = MappingProxyType({"cuda": CudaGraph, "cpu": Tape})
"""Kinds of graphs, by the type of device."""


class Graphed:
    """Gradients of a batch, recorded.

    Arguments:
        gradients: Adds to the gradients of the parameters and gives the loss; a function of a batch
            and a source of random numbers that waits for nothing on the device.
        parameters: The parameters.
        batch: A batch of the shapes to come.
        graph: An empty graph.
        attributes: Those of the model.
    """

    def __init__(
        self, gradients: Gradients, parameters: Sequence[nn.Parameter], batch: Batch, graph: Graph, attributes: Attributes
    ) -> None:
        self.attributes = attributes
        self._parameters = parameters
        self._graph = graph
        self._batch = attrs.evolve(
            batch,
            origin=map_state(Tensor.clone, batch.origin),
            condition=None if batch.condition is None else map_state(Tensor.clone, batch.condition),
            index=None if batch.index is None else batch.index.clone(),
        )
        self._metrics: list[str] = []
        graph.record(self._results(gradients))
        for parameter in parameters:
            parameter.grad = None

    def _results(self, gradients: Gradients) -> Callable[[], Results]:
        def results() -> Results:
            loss = gradients(self._batch, self._graph.generator)
            self._metrics = list(loss.metrics)
            return [loss.value, *loss.metrics.values(), *(parameter.grad for parameter in self._parameters)]

        return results

    def __call__(self, batch: Batch, seed: int) -> Loss:
        """Adds the gradients for a batch to those of the parameters; gives its loss.

        Arguments:
            batch: The examples.
            seed: Of all random numbers.
        """
        for kept, given in zip(_tensors(self._batch), _tensors(batch), strict=True):
            kept.copy_(given)
        self._graph.generator.manual_seed(seed)
        value, *others = self._graph.launch()
        metrics, slopes = others[: len(self._metrics)], others[len(self._metrics) :]
        for parameter, slope in zip(self._parameters, slopes, strict=True):
            if slope is not None:
                parameter.grad = slope if parameter.grad is None else parameter.grad + slope
        return Loss(value=cast(Tensor, value), metrics=dict(zip(self._metrics, cast(list[Tensor], metrics), strict=True)))


def graphed(
    gradients: Gradients,
    parameters: Sequence[nn.Parameter],
    batch: Batch,
    *,
    model: nn.Module,
    graph: Graph,
    restore: Callable[[], None],
) -> Graphed:
    """Records gradients and compares them with what is launched one at a time.

    Arguments:
        gradients: What to record, see :class:`Graphed`.
        parameters: The parameters that it reaches.
        batch: A batch to try it with.
        model: What the gradients are of, with whatever its parts keep; an update may change buffers in place.
        graph: An empty graph.
        restore: Puts the model back as it was, without gradients; called after every trial.

    Raises:
        NotReplayable: They differ, or what Python keeps of the model changes with every call.
    """
    device = graph.generator.device
    with graph.aside():
        for seed in range(WARM_UP):
            attributes = Attributes(model)  # the first call may keep something for those that follow
            gradients(batch, torch.Generator(device).manual_seed(seed))
            restore()
    recorded = Graphed(gradients, parameters, batch, graph, attributes)
    restore()

    def left(loss: Loss) -> dict[str, Tensor]:
        slopes = {f"the gradient of parameter {number}": parameter.grad for number, parameter in enumerate(parameters)}
        moved = {f"what becomes of {name}": buffer.clone() for name, buffer in model.named_buffers()}
        restore()
        found = {name: slope for name, slope in slopes.items() if slope is not None}
        return {"the loss": loss.value, **loss.metrics, **found, **moved}

    for seed in TRIALS:
        _require_same(left(gradients(batch, torch.Generator(device).manual_seed(seed))), left(recorded(batch, seed)), graph.exact)
    if (changed := attributes.changed()) is not None:
        raise NotReplayable(f"{changed} changes from update to update")
    return recorded


def _require_same(alone: Mapping[str, Tensor], together: Mapping[str, Tensor], exactly: bool) -> None:
    if alone.keys() != together.keys():
        raise NotReplayable("a graph reaches other parameters")
    for name, value in alone.items():
        require_close(name, value, together[name])
        if exactly and not torch.equal(value, together[name]):
            raise NotReplayable(f"{name} differs in its last bits")


def _tensors(batch: Batch) -> list[Tensor]:
    condition = [] if batch.condition is None else tensors(batch.condition)
    return [*tensors(batch.origin), *condition, *([] if batch.index is None else [batch.index])]
