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

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, TypeAlias, cast

import attrs
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from chainkit.states import State, tensors
from chainkit.statistics import RunningStatistics

Affine: TypeAlias = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-3, torch.bfloat16: 2e-2}
"""Largest difference between two evaluations at the same states, relative to the largest value, by type."""


class NotReplayable(Exception):
    """The steps of a walk cannot be evaluated together; says why."""


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
        self.layers = [module for module in operator.modules() if _known(module)]
        self._weights: dict[tuple[nn.Module, torch.dtype], Tensor] | None = None
        for module in operator.modules():
            if not (_known(module) or isinstance(module, (nn.Embedding, RunningStatistics))):
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

        with self._forwards(kept) as replaced:
            replaced(self.operator, lambda forward: partial(opened, forward))
            yield evaluations

    @contextmanager
    def replaying(self, evaluations: Sequence[Evaluation]) -> Iterator[None]:
        """Within it the operator is evaluated once, on the rows of all evaluations, those of one example side by side.

        Raises:
            NotReplayable: The network went another way from step to step, or goes another way now.
        """
        calls = iter(list(zip(*(evaluation.layers for evaluation in evaluations), strict=False)))
        if len({len(evaluation.layers) for evaluation in evaluations}) > 1:
            raise NotReplayable("not every step evaluates the same layers")

        def played(forward: Callable[..., Tensor], module: nn.Module, values: Tensor) -> Tensor:
            layers = next(calls, None)
            if layers is None or any(layer.module is not module for layer in layers):
                raise NotReplayable("not every step evaluates the same layers in the same order")
            if layers[0].output.dim() < 2:  # one value for the whole batch, such as what a layer makes of the step
                return forward(values)
            return self._together(layers, values)

        with self._forwards(played):
            yield
        if next(calls, None) is not None:
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

    def _together(self, layers: Sequence[Layer], values: Tensor) -> Tensor:
        if any(layer.output._version != layer.version for layer in layers):
            raise NotReplayable(f"the output of {type(layers[0].module).__name__} is written to in place")
        output = interleaved([layer.output for layer in layers])
        if len(output) != len(values):
            raise NotReplayable(f"{type(layers[0].module).__name__} gives {len(output)} rows for {len(values)}")
        if self.comparing:
            require_close("the input of a layer", interleaved([cast(Tensor, layer.input) for layer in layers]), values)
        module = cast(Affine, layers[0].module)
        return _Recorded.apply(module, output, values, self._weight(module, output.dtype), module.weight, module.bias)

    def _weight(self, module: Affine, dtype: torch.dtype) -> Tensor:
        weight = module.weight.detach()
        if self._weights is None or weight.dtype == dtype:
            return weight.to(dtype)
        if (module, dtype) not in self._weights:
            self._weights[module, dtype] = weight.to(dtype)
        return self._weights[module, dtype]


def interleaved(parts: Sequence[Tensor]) -> Tensor:
    """T tensors [B, ...] as one [B T, ...]: the rows of one example side by side.

    Raises:
        NotReplayable: Their shapes differ.
    """
    if any(part.shape != parts[0].shape for part in parts):
        raise NotReplayable("states differ in shape from step to step")
    return torch.stack(list(parts), 1).flatten(0, 1)


def require_close(what: str, before: Tensor, now: Tensor) -> None:
    """Compares what was recorded with what is computed now.

    Raises:
        NotReplayable: They differ by more than rounding.
    """
    difference = (before - now).abs().max().double()
    if not difference <= TOLERANCES.get(now.dtype, 1e-2) * before.abs().max().double():
        raise NotReplayable(f"{what} depends on what else is evaluated with it, or is random")


def _known(module: nn.Module) -> bool:
    if type(module) is nn.Linear:
        return True
    return type(module) in CONVOLUTIONS and module.padding_mode == "zeros" and not isinstance(module.padding, str)


def _put_back(module: nn.Module, before: Any) -> None:
    if before is None:
        del vars(module)["forward"]
    else:
        vars(module)["forward"] = before


class _Recorded(torch.autograd.Function):
    """An affine layer whose output is known; its gradients are computed as ever, in the type of the output."""

    @staticmethod
    def forward(ctx: Any, module: Affine, output: Tensor, values: Tensor, cast: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.module, ctx.type, ctx.weight_type, ctx.has_bias = module, values.dtype, weight.dtype, bias is not None
        ctx.save_for_backward(values.to(output.dtype), cast)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        values, weight = ctx.saved_tensors
        backward = _linear if isinstance(ctx.module, nn.Linear) else _convolution
        wanted = [ctx.needs_input_grad[2], ctx.needs_input_grad[4], ctx.has_bias and ctx.needs_input_grad[5]]
        of_values, of_weight, of_bias = backward(ctx.module, gradient, values, weight, wanted)
        return (
            None,
            None,
            None if of_values is None else of_values.to(ctx.type),
            None,
            None if of_weight is None else of_weight.to(ctx.weight_type),
            None if of_bias is None else of_bias.to(ctx.weight_type),
        )


def _linear(module: Affine, gradient: Tensor, values: Tensor, weight: Tensor, wanted: list[bool]) -> tuple[Tensor | None, ...]:
    rows = gradient.flatten(0, -2)
    return (
        gradient @ weight if wanted[0] else None,
        rows.T @ values.flatten(0, -2) if wanted[1] else None,
        rows.sum(0) if wanted[2] else None,
    )


def _convolution(module: Any, gradient: Tensor, values: Tensor, weight: Tensor, wanted: list[bool]) -> tuple[Tensor | None, ...]:
    transposed = not isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d))
    return torch.ops.aten.convolution_backward(
        gradient,
        values,
        weight,
        [module.out_channels],
        module.stride,
        module.padding,
        module.dilation,
        transposed,
        module.output_padding,
        module.groups,
        wanted,
    )
