"""Gradients that are launched as one CUDA graph.

On a GPU a walk of small networks is bound by its launches: thousands of kernels of a few
microseconds, each started from Python. A graph records them once, with all their addresses, and
starts them again with one launch. What it reads must then stand where it stood: a batch is copied
into the place of the first one, and a generator of its own is seeded for each launch, so that the
draws are those of kernels launched one at a time. What it writes, gradients and running statistics,
stays in place too.

Whether that gives the same numbers is found out before the first update is made so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias

import attrs
import torch
from torch import Tensor, nn

from chainkit.batch import Batch
from chainkit.interleaving import NotReplayable
from chainkit.random import Source
from chainkit.replay import require_close
from chainkit.states import map_state, tensors

WARM_UP = 3
"""Calls before the recording: libraries choose their kernels and take their memory in the first ones."""

TRIALS = (0, 1)
"""Seeds with which a graph is compared with kernels launched one at a time."""

Gradients: TypeAlias = Callable[[Batch, Source], Tensor]


class Graph(Protocol):
    """What can be recorded once and launched again."""

    generator: torch.Generator

    def aside(self) -> AbstractContextManager[Any]:
        """Where to call what is to be recorded, before it is."""
        ...

    def record(self, function: Callable[[], Tensor]) -> Tensor:
        """Records a function; gives the tensor that holds its result after each launch."""
        ...

    def launch(self) -> None:
        """Does again what was recorded."""
        ...


class CudaGraph:
    """torch's own graph.

    Arguments:
        device: A CUDA device.
    """

    def __init__(self, device: torch.device) -> None:
        self.generator = torch.Generator(device)
        self._stream = torch.cuda.Stream(device)
        self._graph = torch.cuda.CUDAGraph()
        self._graph.register_generator_state(self.generator)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """The stream that records: what autograd keeps of another one would be waited for while recording."""
        usual = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(usual)
        with torch.cuda.stream(self._stream):
            yield
        usual.wait_stream(self._stream)

    def record(self, function: Callable[[], Tensor]) -> Tensor:
        with torch.cuda.graph(self._graph, stream=self._stream):
            return function()

    def launch(self) -> None:
        self._graph.replay()


KINDS: Mapping[str, Callable[[torch.device], Graph]] = MappingProxyType({"cuda": CudaGraph})
"""Kinds of graphs, by the type of device."""


class Graphed:
    """Gradients of a batch, recorded.

    Arguments:
        gradients: Adds to the gradients of the parameters and gives the loss; a function of a batch
            and a source of random numbers that waits for nothing on the device.
        parameters: The parameters.
        batch: A batch of the shapes to come.
        graph: An empty graph.
    """

    def __init__(self, gradients: Gradients, parameters: Sequence[nn.Parameter], batch: Batch, graph: Graph) -> None:
        self._parameters = parameters
        self._graph = graph
        self._batch = attrs.evolve(
            batch,
            origin=map_state(Tensor.clone, batch.origin),
            condition=None if batch.condition is None else map_state(Tensor.clone, batch.condition),
            index=None if batch.index is None else batch.index.clone(),
        )
        self._loss = graph.record(lambda: gradients(self._batch, graph.generator))
        self._gradients = [parameter.grad for parameter in parameters]
        self._forget()

    def __call__(self, batch: Batch, seed: int) -> Tensor:
        """Adds the gradients for a batch to those of the parameters; gives its loss.

        Arguments:
            batch: The examples.
            seed: Of all random numbers.
        """
        for kept, given in zip(_tensors(self._batch), _tensors(batch), strict=True):
            kept.copy_(given)
        self._graph.generator.manual_seed(seed)
        self._graph.launch()
        for parameter, gradient in zip(self._parameters, self._gradients, strict=True):
            if gradient is not None:
                parameter.grad = gradient.clone() if parameter.grad is None else parameter.grad + gradient
        return self._loss.clone()

    def _forget(self) -> None:
        for parameter in self._parameters:
            parameter.grad = None


def graphed(
    gradients: Gradients,
    parameters: Sequence[nn.Parameter],
    batch: Batch,
    *,
    device: torch.device,
    restore: Callable[[], None],
) -> Graphed:
    """Records gradients and compares them with what is launched one at a time.

    Arguments:
        gradients: What to record, see :class:`Graphed`.
        parameters: The parameters that it reaches.
        batch: A batch to try it with.
        device: Where all of it is.
        restore: Puts the model back as it was, without gradients; called after every trial.

    Raises:
        NotReplayable: They differ, or this device has no graphs.
    """
    if device.type not in KINDS:
        raise NotReplayable(f"a graph needs a CUDA device, and this one is {device}")
    graph = KINDS[device.type](device)
    with graph.aside():
        for seed in range(WARM_UP):
            gradients(batch, torch.Generator(device).manual_seed(seed))
            restore()
    recorded = Graphed(gradients, parameters, batch, graph)
    restore()
    for seed in TRIALS:
        loss, slopes = gradients(batch, torch.Generator(device).manual_seed(seed)), _slopes(parameters)
        restore()
        again, others = recorded(batch, seed), _slopes(parameters)
        restore()
        if slopes.keys() != others.keys():
            raise NotReplayable("a graph reaches other parameters")
        require_close("the loss", loss, again)
        for number, slope in slopes.items():
            require_close(f"the gradient of parameter {number}", slope, others[number])
    return recorded


def _slopes(parameters: Sequence[nn.Parameter]) -> dict[int, Tensor]:
    return {number: parameter.grad.clone() for number, parameter in enumerate(parameters) if parameter.grad is not None}


def _tensors(batch: Batch) -> list[Tensor]:
    condition = [] if batch.condition is None else tensors(batch.condition)
    return [*tensors(batch.origin), *condition, *([] if batch.index is None else [batch.index])]
