r"""A residual network.

.. math:: h_0 = W s_k + E_k + L_y, \qquad h_j = h_{j-1} + B_j\, \mathrm{silu}(A_j\, \mathrm{norm}(h_{j-1})),
    \qquad F = V h

where E_k tells the step and L_y the class label, if there are labels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from chainkit import Context, Network
from chainkit_placeholder.configs import NetworkConfig


class ResidualNetwork(Network):
    """Residual blocks over flattened states.

    Arguments:
        shape: Shape of one state, [*event].
        steps: K, 1 or more.
        heads: Number of output maps, 1 or more.
        width: Units of every layer.
        blocks: Number of blocks.
        classes: Number of class labels, or None.
    """

    def __init__(
        self,
        shape: Sequence[int],
        *,
        steps: int = 1,
        heads: int = 1,
        width: int = 128,
        blocks: int = 2,
        classes: int | None = None,
    ) -> None:
        super().__init__()
        self.shape = tuple(shape)
        size = math.prod(shape)
        self.first = nn.Linear(size, width)
        self.step = nn.Embedding(steps, width)
        self.label = None if classes is None else nn.Embedding(classes, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
            for _ in range(blocks)
        )
        self.last = nn.Linear(width, heads * size)

    def forward(self, state: Tensor, k: int | Tensor, condition: Any = None) -> tuple[Tensor, ...]:
        values = self.first(state.flatten(1)) + self.step(torch.as_tensor(k, device=state.device) - 1)
        if self.label is not None:
            values = values + self.label(condition)
        for block in self.blocks:
            values = values + block(values)
        return self.last(values).unflatten(1, (-1, *self.shape)).unbind(1)

    @torch.no_grad()
    def bias_heads(self, biases: Sequence[Tensor | None]) -> None:
        for own, bias in zip(self.last.bias.chunk(len(biases)), biases, strict=True):
            if bias is not None:
                own.copy_(bias.flatten())


def build(config: NetworkConfig, context: Context) -> ResidualNetwork:
    """The network that an operator asks for, with ``context.heads`` heads."""
    return ResidualNetwork(
        context.data.shape,
        steps=context.steps,
        heads=context.heads,
        width=config.width,
        blocks=config.blocks,
        classes=context.data.classes,
    )
