r"""Network evaluations that were made one at a time, differentiated together.

A walk draws every state from the kernel of the state before, so its evaluations come one after the
other. Their gradients need not. For a layer y = W x, evaluated at T steps on B rows each,

.. math:: \bar W = \sum_{t=1}^{T} \bar Y_t^\top X_t = \bar Y^\top X, \qquad \bar X = \bar Y W

with X and Y the rows of all steps: one product of T B rows runs near the ceiling of the machine
where T products of B rows, each read from and added to memory, do not.

A :class:`Recorder` keeps what the layers gave while the walk was drawn without a graph. The network
is then evaluated once more on the states of all steps, and its layers return what they gave before
instead of computing it: elementwise arithmetic is repeated, products are not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, cast

import attrs
import torch
from torch import Tensor, nn

from chainkit.affine import Affine, is_affine, with_output
from chainkit.interleaving import Interleaved, NotReplayable
from chainkit.states import State, tensors
from chainkit.statistics import RunningStatistics

TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-3, torch.bfloat16: 2e-2}
"""Largest difference between two evaluations at the same states, relative to the largest value, by type."""


@attrs.define(eq=False)
class Layer:
    """What one layer gave in one evaluation.

    Arguments:
        module: The layer.
        output: Its output.
        version: How often the output had been written to; layers after it may work in place.
        input: Its input, where it is kept to compare with.
    """

    module: nn.Module
    output: Tensor
    version: int
    input: Tensor | None


@attrs.define(eq=False)
class Evaluation:
    """One evaluation of an operator: the state that it was evaluated at, and its layers in order."""

    state: State
    layers: list[Layer] = attrs.field(factory=list)

    @property
    def bytes(self) -> int:
        """Memory of what is kept."""
        return sum(tensor.nbytes for tensor in [*tensors(self.state), *(layer.output for layer in self.layers)])


@attrs.define(eq=False)
class Kept:
    """What one layer gave in several evaluations.

    Arguments:
        module: The layer.
        outputs: Its outputs; None for one value that is the same for the whole batch, such as what a layer makes of the step.
        inputs: Its inputs, where they are kept to compare with.
    """

    module: nn.Module
    outputs: Interleaved | None
    inputs: Interleaved | None

    def add(self, layer: Layer) -> None:
        """Adds the next evaluation.

        Raises:
            NotReplayable: It is of another layer, or its output has changed since.
        """
        if layer.module is not self.module:
            raise NotReplayable("not every step evaluates the same layers in the same order")
        if layer.output._version != layer.version:
            raise NotReplayable(f"the output of {type(self.module).__name__} is written to in place")
        if self.outputs is not None:
            self.outputs.add(layer.output)
        if self.inputs is not None:
            self.inputs.add(layer.input)


class Record:
    """Several evaluations of an operator, as one.

    Arguments:
        most: How many there can be.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.states = Interleaved(most)
        self.layers: deque[Kept] = deque()

    def add(self, evaluation: Evaluation) -> None:
        """Adds the next evaluation.

        Raises:
            NotReplayable: The operator went another way than in those before.
        """
        if self.states.length == 0:
            self.layers.extend(self._kept(layer) for layer in evaluation.layers)
        if len(evaluation.layers) != len(self.layers):
            raise NotReplayable("not every step evaluates the same layers")
        self.states.add(evaluation.state)
        for kept, layer in zip(self.layers, evaluation.layers, strict=True):
            kept.add(layer)

    def _kept(self, layer: Layer) -> Kept:
        by_row = layer.output.dim() > 1
        return Kept(
            module=layer.module,
            outputs=Interleaved(self.most) if by_row else None,
            inputs=Interleaved(self.most) if by_row and layer.input is not None else None,
        )


class Recorder:
    """Records the layers of an operator, and plays them back.

    Arguments:
        operator: A module that is called with a state first.
        comparing: Whether inputs are kept and compared, too: a layer's output may be taken from the
            record only where its input is what it was.

    Raises:
        NotReplayable: A matrix of parameters belongs to a layer that is not known here.
    """

    def __init__(self, operator: nn.Module, *, comparing: bool = False) -> None:
        self.operator = operator
        self.comparing = comparing
        self.layers = [cast(Affine, module) for module in operator.modules() if is_affine(module)]
        self._weights: dict[tuple[nn.Module, torch.dtype], Tensor] | None = None
        for module in operator.modules():
            if not (is_affine(module) or isinstance(module, (nn.Embedding, RunningStatistics))):
                for name, parameter in module.named_parameters(recurse=False):
                    if parameter.dim() > 1:
                        raise NotReplayable(f"{type(module).__name__}.{name} may take part in a product of its own")

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Within it no parameter changes, so that a weight is brought to the type of a layer's output once."""
        self._weights = {}
        try:
            yield
        finally:
            self._weights = None

    @contextmanager
    def recording(self) -> Iterator[list[Evaluation]]:
        """Keeps every evaluation made inside, without a graph; gives the list that they are added to.

        Raises:
            NotReplayable: The operator takes a gradient of a layer itself, which would be that of what is kept.
        """
        evaluations: list[Evaluation] = []

        def opened(forward: Callable[..., Any], state: State, *others: Any, **named: Any) -> Any:
            evaluations.append(Evaluation(state))
            return forward(state, *others, **named)

        def kept(forward: Callable[..., Tensor], module: nn.Module, values: Tensor) -> Tensor:
            if torch.is_grad_enabled():  # within torch.no_grad: a layer that is played back is differentiable once only
                raise NotReplayable(f"the operator takes a gradient of its {type(module).__name__} itself")
            output = forward(values)
            evaluations[-1].layers.append(Layer(module, output, output._version, values if self.comparing else None))
            return output

        with self._narrow(), self._forwards(kept) as replaced:
            replaced(self.operator, lambda forward: partial(opened, forward))
            yield evaluations

    @contextmanager
    def replaying(self, record: Record) -> Iterator[None]:
        """Within it the operator is evaluated once, on the rows of all evaluations, those of one example side by side.

        Arguments:
            record: The evaluations; what the layers gave is taken out of it.

        Raises:
            NotReplayable: The network goes another way now.
        """

        def played(forward: Callable[..., Tensor], module: nn.Module, values: Tensor) -> Tensor:
            if not record.layers or record.layers[0].module is not module:
                raise NotReplayable("not every step evaluates the same layers in the same order")
            kept = record.layers.popleft()
            return forward(values) if kept.outputs is None else self._together(kept, kept.outputs.together(), values)

        with self._forwards(played):
            yield
        if record.layers:
            raise NotReplayable("a layer is not evaluated when the steps are evaluated together")

    @contextmanager
    def _forwards(self, instead: Callable[..., Tensor]) -> Iterator[Callable[[nn.Module, Callable[..., Any]], None]]:
        """Puts ``instead(forward, layer, input)`` in the place of every layer's ``forward``, for a while."""
        with ExitStack() as stack:

            def replace(module: nn.Module, wrapped: Callable[..., Any]) -> None:
                before = vars(module).get("forward")
                vars(module)["forward"] = wrapped(module.forward)
                stack.callback(_put_back, module, before)

            for layer in self.layers:
                replace(layer, lambda forward, layer=layer: partial(instead, forward, layer))
            yield replace

    @contextmanager
    def _narrow(self) -> Iterator[None]:
        """Within it layers see their weights as :meth:`_weight` brings them to autocast's type, which would make a copy of its own."""
        with ExitStack() as stack:
            for layer in self.layers:
                kind = layer.weight.device.type
                if torch.is_autocast_enabled(kind) and layer.weight.dtype == torch.float32:
                    vars(layer)["weight"] = self._weight(layer, torch.get_autocast_dtype(kind))
                    stack.callback(vars(layer).pop, "weight")
            yield

    def _together(self, kept: Kept, output: Tensor, values: Tensor) -> Tensor:
        module = cast(Affine, kept.module)
        if len(output) != len(values):
            raise NotReplayable(f"{type(module).__name__} gives {len(output)} rows for {len(values)}")
        if kept.inputs is not None:
            require_close("the input of a layer", kept.inputs.together(), values)
        return with_output(module, output, values, self._weight(module, output.dtype))

    def _weight(self, module: Affine, dtype: torch.dtype) -> Tensor:
        weight = module.weight.detach()
        if self._weights is None or weight.dtype == dtype:
            return weight.to(dtype)
        if (module, dtype) not in self._weights:
            self._weights[module, dtype] = weight.to(dtype)
        return self._weights[module, dtype]


def require_close(what: str, before: Tensor, now: Tensor) -> None:
    """Compares what was recorded with what is computed now.

    Raises:
        NotReplayable: They differ by more than rounding.
    """
    difference = (before - now).abs().max().double()
    if not difference <= TOLERANCES.get(now.dtype, 1e-2) * before.abs().max().double():
        raise NotReplayable(f"{what} depends on what else is evaluated with it, or is random")


def _put_back(module: nn.Module, before: Any) -> None:
    if before is None:
        del vars(module)["forward"]
    else:
        vars(module)["forward"] = before
