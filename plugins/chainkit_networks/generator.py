r"""The generator of Salimans et al. 2016, as infusion training uses it on CIFAR-10.

One fully connected layer from the flattened state to 512 maps of 4x4 pixels, then three 5x5
transposed convolutions of stride 2 (infusion paper, section 3.5; CelebA has one more), with ReLU and
batch normalisation after every layer but the last.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from chainkit.network import Network
from chainkit_networks.conditioning import Conditioning, classes_told
from chainkit_networks.configs import Activation, Norm, Step
from chainkit_networks.configs import Decoders as DecodersKind
from chainkit_networks.decoder import Decoders, halvings, image_shape
from chainkit_networks.layer import Layer

if TYPE_CHECKING:
    from chainkit.component import Context
    from chainkit_networks.configs import GeneratorConfig


class Generator(Network):
    """A fully connected layer and transposed convolutions, for images [channels, rows, columns] of any size.

    Arguments:
        shape: Shape of one state.
        heads: Number of heads, 1 or more.
        channels: Input channels of the transposed convolutions, at least one; each doubles the image.
        activation: Function after every layer but the last, by name.
        norm: Batch normalisation of every layer but the last: ``none``, ``per-step`` or ``shared``.
        step: How the first layer is told the step: ``none``, ``embedding`` or ``scalar``.
        decoders: Transposed convolutions ``shared`` by all heads, or ``separate`` ones.
        steps: K, 1 or more.
        classes: Number of class labels that condition the first layer, or None.

    Raises:
        ValueError: States are no images, an unknown name, or labels missing when called.
    """

    def __init__(
        self,
        shape: Sequence[int],
        *,
        heads: int = 1,
        channels: Sequence[int] = (512, 256, 128),
        activation: Activation = "relu",
        norm: Norm = "per-step",
        step: Step = "none",
        decoders: DecodersKind = "shared",
        steps: int = 1,
        classes: int | None = None,
    ) -> None:
        super().__init__()
        image, rows, columns = image_shape(shape)
        sizes = halvings((rows, columns), len(channels))
        self.features = (channels[0], *sizes[-1])
        units = math.prod(self.features)
        self.conditioning = Conditioning(units, steps, step=step, classes=classes)
        self.first = Layer(nn.Linear(math.prod(shape), units), units, norm=norm, steps=steps, activation=activation)
        self.decoder = Decoders(heads, decoders, channels, sizes[::-1], image, norm=norm, steps=steps, activation=activation)

    def forward(self, state: Tensor, k: int | Tensor, condition: Any = None) -> tuple[Tensor, ...]:
        values = self.first(state.flatten(1), k, self.conditioning(k, condition))
        return self.decoder(values.unflatten(1, self.features), k)

    def bias_heads(self, biases: Sequence[Tensor | None]) -> None:
        self.decoder.bias_heads(biases)


def build(config: GeneratorConfig, context: Context) -> Generator:
    """The network ``generator``."""
    return Generator(
        context.data.shape,
        heads=context.heads,
        channels=config.channels,
        activation=config.activation,
        norm=config.norm,
        step=config.step,
        decoders=config.decoders,
        steps=context.steps,
        classes=classes_told(context.data),
    )
