"""A linear network: with it the operators of any plugin become chains that are known exactly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from chainkit.network import Network
from chainkit.random import normal, seeded


class LinearNetwork(Network):
    """W_k s + c_k in the first head, c_k alone in the others, W and c different at every step.

    The first head of a Gaussian operator is its mean and the next its scale, so that its steps are
    linear-Gaussian.

    Arguments:
        shape: Shape of one state.
        heads: Number of heads, 1 or more.
        steps: K.
        gain: Standard deviation of W and of c, drawn from a fixed seed.
    """

    def __init__(self, shape: Sequence[int], heads: int, steps: int, gain: float = 0.5) -> None:
        super().__init__()
        size, source = math.prod(shape), seeded("cpu", 0, "linear network")
        self.shape = tuple(shape)
        self.weight = nn.Parameter(gain * normal(torch.empty(steps, size, size), source))
        self.bias = nn.Parameter(gain * normal(torch.empty(steps, heads, *shape), source))

    def forward(self, state: Tensor, k: int | Tensor, condition: Any = None) -> tuple[Tensor, ...]:
        weight, bias = self.weight[k - 1], self.bias[k - 1]
        moved = (weight @ state.flatten(1)[..., None]).squeeze(2).view_as(state)
        first, *others = bias.expand(len(state), *bias.shape[-1 - len(self.shape) :]).unbind(1)
        return (moved + first, *others)

    @torch.no_grad()
    def bias_heads(self, biases: Sequence[Tensor | None]) -> None:
        for head, bias in enumerate(biases):
            if bias is not None:
                self.bias[:, head] = bias
