r"""One layer of a network, and how it is initialised.

.. math:: h' = \phi(\mathrm{norm}_k(W h) + c)

where c is what the layer is conditioned on. It comes after the normalisation, which would take
away whatever is the same for the whole batch, such as the step.
"""

from __future__ import annotations

import math
from typing import TypeAlias

from torch import Tensor, nn

from chainkit_networks.activations import activation as activation_of
from chainkit_networks.configs import Norm
from chainkit_networks.normalisation import normalisation

Affine: TypeAlias = nn.Linear | nn.Conv2d | nn.ConvTranspose2d

LAST_GAIN = 0.1
"""Gain of the last layers: a network starts close to the biases of its heads."""


def fan_in(affine: Affine) -> float:
    """How many inputs an output sums over, on average where the stride makes it vary."""
    if isinstance(affine, nn.Linear):
        return affine.in_features
    taps = math.prod(affine.kernel_size)
    return affine.in_channels * (taps / math.prod(affine.stride) if isinstance(affine, nn.ConvTranspose2d) else taps)


def initialise(affine: Affine, gain: float) -> None:
    """Draws normal weights of standard deviation gain / sqrt(fan-in); biases start at 0.

    Arguments:
        affine: The layer.
        gain: Standard deviation of an output for inputs of mean square 1, above 0.
    """
    nn.init.normal_(affine.weight, std=gain / math.sqrt(fan_in(affine)))
    if affine.bias is not None:
        nn.init.zeros_(affine.bias)


class Layer(nn.Module):
    """An affine map, its normalisation and its activation.

    Arguments:
        affine: W, whose bias is dropped where the normalisation has one.
        features: Number of its output features or channels, 1 or more.
        norm: ``none``, ``per-step`` or ``shared``.
        steps: K.
        activation: Name of phi.
    """

    def __init__(self, affine: Affine, features: int, *, norm: Norm, steps: int, activation: str) -> None:
        super().__init__()
        self.affine = affine
        self.norm = normalisation(norm, features, steps)
        if norm != "none":
            affine.register_parameter("bias", None)
        self.activation = activation_of(activation).function
        initialise(affine, activation_of(activation).gain)

    def forward(self, values: Tensor, k: int | Tensor, condition: Tensor | None = None) -> Tensor:
        """Evaluates the layer.

        Arguments:
            values: h, [B, ...].
            k: Step index in 1..K, an int or a LongTensor [B].
            condition: c, [features] or [B, features], or None.
        """
        hidden = self.norm(self.affine(values), k)
        if condition is not None:
            hidden = hidden + condition.reshape(*condition.shape, *[1] * (hidden.dim() - 2)).to(hidden.dtype)
        return self.activation(hidden)
