r"""The convolutional encoder-decoder of Variational Walkback.

Strided 5x5 convolutions, fully connected layers and strided 5x5 transposed convolutions, with tanh
and batch normalisation after every layer but the last (walkback paper, appendix A).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from chainkit.network import Network
from chainkit_networks.conditioning import Conditioning, classes_told
from chainkit_networks.configs import Activation, Norm, Step
from chainkit_networks.configs import Decoders as DecodersKind
from chainkit_networks.decoder import Decoders, halvings, image_shape, shrink
from chainkit_networks.layer import Layer

if TYPE_CHECKING:
    from chainkit.component import Context
    from chainkit_networks.configs import ConvConfig


class EncoderDecoder(Network):
    """Encoder, fully connected layers, decoder, for images [channels, rows, columns] of any size.

    Arguments:
        shape: Shape of one state.
        heads: Number of heads, 1 or more.
        channels: Output channels of the convolutions, at least one; the decoder takes them back.
        hidden: Units of the fully connected layers between them. One more such layer leads to the
            feature maps that the decoder starts from.
        activation: Function after every layer but the last, by name.
        norm: Batch normalisation of every layer but the last: ``none``, ``per-step`` or ``shared``.
        step: How the first convolution is told the step: ``none``, ``embedding`` or ``scalar``.
        decoders: One decoder ``shared`` by all heads, or ``separate`` ones.
        steps: K, 1 or more.
        classes: Number of class labels that condition the first convolution, or None.

    Raises:
        ValueError: States are no images, an unknown name, or labels missing when called.
    """

    def __init__(
        self,
        shape: Sequence[int],
        *,
        heads: int = 1,
        channels: Sequence[int] = (64, 128, 256),
        hidden: Sequence[int] = (1024, 1024),
        activation: Activation = "tanh",
        norm: Norm = "shared",
        step: Step = "none",
        decoders: DecodersKind = "shared",
        steps: int = 1,
        classes: int | None = None,
    ) -> None:
        super().__init__()
        image, rows, columns = image_shape(shape)
        sizes = halvings((rows, columns), len(channels))
        self.features = (channels[-1], *sizes[-1])
        widths = [math.prod(self.features), *hidden, math.prod(self.features)]

        def layer(affine: nn.Linear | nn.Conv2d, outputs: int) -> Layer:
            return Layer(affine, outputs, norm=norm, steps=steps, activation=activation)

        self.conditioning = Conditioning(channels[0], steps, step=step, classes=classes)
        self.first = layer(shrink(image, channels[0]), channels[0])
        self.encoder = nn.ModuleList(layer(shrink(a, b), b) for a, b in pairwise(channels))
        self.middle = nn.ModuleList(layer(nn.Linear(a, b), b) for a, b in pairwise(widths))
        self.decoder = Decoders(heads, decoders, channels[::-1], sizes[::-1], image, norm=norm, steps=steps, activation=activation)

    def forward(self, state: Tensor, k: int | Tensor, condition: Any = None) -> tuple[Tensor, ...]:
        values = self.first(state, k, self.conditioning(k, condition))
        for layer in self.encoder:
            values = layer(values, k)
        values = values.flatten(1)
        for layer in self.middle:
            values = layer(values, k)
        return self.decoder(values.unflatten(1, self.features), k)

    def bias_heads(self, biases: Sequence[Tensor | None]) -> None:
        self.decoder.bias_heads(biases)


def build(config: ConvConfig, context: Context) -> EncoderDecoder:
    """The network ``conv``."""
    return EncoderDecoder(
        context.data.shape,
        heads=context.heads,
        channels=config.channels,
        hidden=config.hidden,
        activation=config.activation,
        norm=config.norm,
        step=config.step,
        decoders=config.decoders,
        steps=context.steps,
        classes=classes_told(context.data),
    )
