"""Activation functions by name, with the gain that keeps signals of unit size in a deep network."""

from __future__ import annotations

import math
from collections.abc import Callable

import attrs
import torch
from torch import Tensor
from torch.nn import functional


@attrs.frozen
class Activation:
    """A function between layers.

    Arguments:
        function: Elementwise, tensor to tensor.
        gain: Standard deviation of the weights before it, times the square root of their fan-in, at
            the start: sqrt(2) for functions that drop half the signal, otherwise 1 / slope at 0
            (for tanh 5/3, which allows for its saturation).
    """

    function: Callable[[Tensor], Tensor]
    gain: float


ACTIVATIONS = {
    "relu": Activation(functional.relu, math.sqrt(2)),
    "leaky-relu": Activation(functional.leaky_relu, math.sqrt(2)),
    "elu": Activation(functional.elu, math.sqrt(2)),
    "gelu": Activation(functional.gelu, math.sqrt(2)),
    "silu": Activation(functional.silu, math.sqrt(2)),
    "softplus": Activation(functional.softplus, 2.0),
    "tanh": Activation(torch.tanh, 5 / 3),
    "sigmoid": Activation(torch.sigmoid, 4.0),
}


def activation(name: str) -> Activation:
    """The activation of that name.

    Raises:
        ValueError: There is none.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"activation is one of {', '.join(ACTIVATIONS)}, not {name!r}")
    return ACTIVATIONS[name]
