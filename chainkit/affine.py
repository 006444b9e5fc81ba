r"""Affine layers whose outputs are known, and the gradients of these.

.. math:: y = W x + b, \qquad \bar W = \bar y\, x^\top, \qquad \bar x = W^\top \bar y, \qquad \bar b = \bar y

each summed over rows, and for convolutions over places.
"""

from __future__ import annotations

from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

Affine: TypeAlias = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def is_affine(module: nn.Module) -> bool:
    """Whether a module is a layer of torch's own whose gradients are known here.

    Arguments:
        module: Any; one of a class derived from torch's may do more, and is none.
    """
    if type(module) is nn.Linear:
        return True
    return type(module) in CONVOLUTIONS and module.padding_mode == "zeros" and not isinstance(module.padding, str)


def with_output(module: Affine, output: Tensor, values: Tensor, weight: Tensor) -> Tensor:
    """An output that is known, with the gradients that the layer would give it, computed in the type of the output.

    Arguments:
        module: The layer.
        output: y.
        values: x.
        weight: W in the type of the output.
    """
    return cast(Tensor, _Recorded.apply(module, output, values, weight, module.weight, module.bias))


class _Recorded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, module: Affine, output: Tensor, values: Tensor, narrow: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.module, ctx.type, ctx.weight_type, ctx.has_bias = module, values.dtype, weight.dtype, bias is not None
        ctx.save_for_backward(values.to(output.dtype), narrow)
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
