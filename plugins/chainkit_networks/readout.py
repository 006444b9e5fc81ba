"""The last layers of all heads, evaluated as one product."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from chainkit_networks.configs import Readout as Kind
from chainkit_networks.layer import LAST_GAIN, initialise
from chainkit_networks.step_linear import StepLinear


class Readout(nn.Module):
    """From hidden features to the heads.

    Arguments:
        features: Size of the last hidden layer.
        shape: Shape of one state.
        heads: Number of heads, 1 or more.
        steps: K.
        kind: One layer ``shared`` by all steps, or one ``per-step``.
        knots: With ``per-step``, how many layers are learned, the others between them; left out, or with K or more, all.

    Raises:
        ValueError: An unknown kind, or knots without ``per-step`` or fewer than two.
    """

    def __init__(self, features: int, shape: Sequence[int], heads: int, steps: int, kind: Kind, knots: int | None = None) -> None:
        super().__init__()
        if kind not in ("shared", "per-step"):
            raise ValueError(f"readout is one of shared, per-step, not {kind!r}")
        if knots is not None and kind == "shared":
            raise ValueError("knots are of a read-out per step, not of a shared one")
        self.maps = (heads, *shape)
        self.linear: nn.Linear | StepLinear
        if kind == "per-step":
            self.linear = StepLinear(features, math.prod(self.maps), steps, knots)
            nn.init.normal_(self.linear.weight, std=LAST_GAIN * features**-0.5)
        else:
            self.linear = nn.Linear(features, math.prod(self.maps))
            initialise(self.linear, LAST_GAIN)

    def forward(self, hidden: Tensor, k: int | Tensor) -> tuple[Tensor, ...]:
        """The heads, each [B, *shape], views of one tensor."""
        linear = self.linear
        maps = linear(hidden, k) if isinstance(linear, StepLinear) else linear(hidden)
        return maps.unflatten(1, self.maps).unbind(1)

    @torch.no_grad()
    def bias_heads(self, biases: Sequence[Tensor | None]) -> None:
        """Sets the biases of the heads, at every step alike; None leaves a head as it is."""
        own = self.linear.bias.view(-1, *self.maps)
        for head, bias in enumerate(biases):
            if bias is not None:
                own[:, head] = bias
