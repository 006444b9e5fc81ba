r"""Strided 5x5 convolutions and their way back, for images of any size.

A convolution of stride 2 and padding 2 takes n pixels to :math:`\lceil n / 2 \rceil = m`. A
transposed one takes m pixels to 2 m - 1, or to 2 m with an output padding of 1, and so gives back
either n.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn

from chainkit_networks.configs import Norm
from chainkit_networks.layer import LAST_GAIN, Layer, initialise

KERNEL, STRIDE, PADDING = 5, 2, 2

Size: TypeAlias = tuple[int, int]


def halvings(size: Size, times: int) -> list[Size]:
    """The size of an image, (rows, columns), before and after each of so many strided convolutions."""
    sizes = [size]
    for _ in range(times):
        rows, columns = sizes[-1]
        sizes.append(((rows + 1) // 2, (columns + 1) // 2))
    return sizes


def shrink(inputs: int, outputs: int) -> nn.Conv2d:
    """A convolution that halves an image, rounding up."""
    return nn.Conv2d(inputs, outputs, KERNEL, STRIDE, PADDING)


def grow(inputs: int, outputs: int, size: Size) -> nn.ConvTranspose2d:
    """The transposed convolution onto an image of a given size, from one of half that size, rounded up."""
    rows, columns = size
    return nn.ConvTranspose2d(inputs, outputs, KERNEL, STRIDE, PADDING, output_padding=(1 - rows % 2, 1 - columns % 2))


def image_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    """The shape of one state, as (channels, rows, columns).

    Raises:
        ValueError: It is no image.
    """
    if len(shape) != 3:
        raise ValueError(f"this network is for images [channels, rows, columns], not for states of shape {list(shape)}")
    return shape[0], shape[1], shape[2]


class Decoder(nn.Module):
    """Transposed convolutions from small feature maps to the heads, the last layer of all heads being one.

    Arguments:
        channels: Input channels of every layer, at least one.
        sizes: Image sizes from small to full, one more than layers.
        image: Channels of a state.
        heads: Number of heads, 1 or more.
        norm: Batch normalisation of all layers but the last.
        steps: K.
        activation: Function after all layers but the last, by name.
    """

    def __init__(
        self, channels: Sequence[int], sizes: Sequence[Size], image: int, heads: int, *, norm: Norm, steps: int, activation: str
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            Layer(grow(inputs, outputs, size), outputs, norm=norm, steps=steps, activation=activation)
            for inputs, outputs, size in zip(channels[:-1], channels[1:], sizes[1:-1], strict=True)
        )
        self.last = grow(channels[-1], heads * image, sizes[-1])
        self.maps = (heads, image)
        initialise(self.last, LAST_GAIN)

    def forward(self, features: Tensor, k: int | Tensor) -> tuple[Tensor, ...]:
        """The heads, each [B, image, rows, columns].

        Arguments:
            features: [B, channels, rows, columns], of the first of the sizes.
            k: Step index in 1..K, an int or a LongTensor [B].
        """
        for layer in self.layers:
            features = layer(features, k)
        return self.last(features).unflatten(1, self.maps).unbind(1)

    @torch.no_grad()
    def bias_heads(self, biases: Sequence[Tensor | None]) -> None:
        """Sets the biases of the heads, one for each channel: the mean over its pixels; None leaves a head as it is."""
        assert self.last.bias is not None
        own = self.last.bias.view(self.maps)
        for head, bias in enumerate(biases):
            if bias is not None:
                own[head] = bias.mean((1, 2))


class Decoders(nn.Module):
    """One decoder for all heads, or one for each.

    Arguments:
        heads: Number of heads, 1 or more.
        kind: ``shared`` or ``separate``.
        channels: As for :class:`Decoder`, like all that follow.
        sizes: Image sizes.
        image: Channels of a state.
        norm: Batch normalisation.
        steps: K.
        activation: Activation function.

    Raises:
        ValueError: An unknown kind.
    """

    def __init__(
        self, heads: int, kind: str, channels: Sequence[int], sizes: Sequence[Size], image: int, *, norm: Norm, steps: int, activation: str
    ) -> None:
        super().__init__()
        if kind not in ("shared", "separate"):
            raise ValueError(f"decoders is one of shared, separate, not {kind!r}")
        of_each = [heads] if kind == "shared" else [1] * heads
        self.parts = nn.ModuleList(
            Decoder(channels, sizes, image, count, norm=norm, steps=steps, activation=activation) for count in of_each
        )

    def forward(self, features: Tensor, k: int | Tensor) -> tuple[Tensor, ...]:
        return tuple(head for part in self.parts for head in part(features, k))

    def bias_heads(self, biases: Sequence[Tensor | None]) -> None:
        if len(self.parts) == 1:
            self.parts[0].bias_heads(biases)  # type: ignore[operator]
        else:
            for part, bias in zip(self.parts, biases, strict=True):
                part.bias_heads([bias])  # type: ignore[operator]
