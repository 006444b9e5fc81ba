"""What recipes may set on the components of this plugin."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import attrs
from attrs import field

from chainkit.config import at_least, not_empty

Activation: TypeAlias = Literal["relu", "leaky-relu", "elu", "gelu", "silu", "softplus", "tanh", "sigmoid"]
Norm: TypeAlias = Literal["none", "per-step", "shared"]
Readout: TypeAlias = Literal["shared", "per-step"]
Step: TypeAlias = Literal["none", "embedding", "scalar"]
Decoders: TypeAlias = Literal["shared", "separate"]


@attrs.frozen(kw_only=True)
class MLPConfig:
    """Fully connected layers. Where the data is labelled, the label conditions the first one.

    Arguments:
        hidden: Units of every hidden layer, at least one layer, each 1 or more.
        activation: Function after every hidden layer.
        norm: Batch normalisation of the hidden layers: ``none``, with parameters and statistics
            ``per-step`` (infusion paper, appendix A.1), or ``shared`` by all steps.
        readout: The last layer: ``shared`` by all steps, or one ``per-step``.
        knots: With ``per-step``, how many last layers are learned, evenly over the steps, 2 or more;
            each of the others lies between two of them. Left out, or with K or more, all are.
        step: How the first hidden layer is told the step: not at all (``none``), by a sinusoidal
            ``embedding``, or by the ``scalar`` k / K.
    """

    hidden: list[int] = field(factory=lambda: [256], validator=[not_empty, at_least(1)])
    activation: Activation = "relu"
    norm: Norm = "none"
    readout: Readout = "shared"
    knots: int | None = field(default=None, validator=at_least(2))
    step: Step = "none"

    @knots.validator
    def _per_step(self, attribute: Any, value: int | None) -> None:
        if value is not None and self.readout == "shared":
            raise ValueError('need readout = "per-step"')


@attrs.frozen(kw_only=True)
class RBFConfig:
    """A normalised radial basis function network, its centres spread like the data at the start.

    Where the data is labelled, the label shifts the log activations of the units.

    Arguments:
        units: Number of radial units, 1 or more (16 in Sohl-Dickstein et al. 2015, appendix D.1.1).
        readout: The last layer: one ``per-step``, or ``shared`` by all steps.
        step: Whether the log activations are told the step too: ``none``, ``embedding`` or ``scalar``.
    """

    units: int = field(default=16, validator=at_least(1))
    readout: Readout = "per-step"
    step: Step = "none"


@attrs.frozen(kw_only=True)
class ConvConfig:
    """The convolutional encoder-decoder of the walkback paper (appendix A), for images of any size.

    Strided 5x5 convolutions, fully connected layers, strided 5x5 transposed convolutions; every
    convolution halves the image, rounding up, and every transposed one undoes that. Where the data
    is labelled, the label conditions the first convolution.

    Arguments:
        channels: Output channels of the convolutions, at least one, each 1 or more; the decoder
            takes them back in reverse.
        hidden: Units of the fully connected layers, each 1 or more; may be empty.
        activation: Function after every layer but the last.
        norm: Batch normalisation of every layer but the last: ``none``, ``per-step``, or ``shared``
            by all steps.
        step: How the first convolution is told the step: ``none``, ``embedding`` or ``scalar``.
        decoders: Whether the heads share one decoder up to its last layer, or have ``separate`` ones.
    """

    channels: list[int] = field(factory=lambda: [64, 128, 256], validator=[not_empty, at_least(1)])
    hidden: list[int] = field(factory=lambda: [1024, 1024], validator=at_least(1))
    activation: Activation = "tanh"
    norm: Norm = "shared"
    step: Step = "none"
    decoders: Decoders = "shared"


@attrs.frozen(kw_only=True)
class GeneratorConfig:
    """The generator of Salimans et al. 2016, as infusion uses it on CIFAR-10 (infusion paper, section 3.5).

    One fully connected layer from the flattened state to a small image, then 5x5 transposed
    convolutions, each doubling it. Where the data is labelled, the label conditions the first layer.

    Arguments:
        channels: Input channels of the transposed convolutions, at least one, each 1 or more:
            [512, 256, 128] on 32x32 images, [512, 256, 128, 64] on 64x64 ones.
        activation: Function after every layer but the last.
        norm: Batch normalisation of every layer but the last: ``per-step``, ``shared`` by all
            steps, or ``none``.
        step: How the first layer is told the step: ``none``, ``embedding`` or ``scalar``.
        decoders: Whether the heads share all layers but the last, or have ``separate`` transposed
            convolutions.
    """

    channels: list[int] = field(factory=lambda: [512, 256, 128], validator=[not_empty, at_least(1)])
    activation: Activation = "relu"
    norm: Norm = "per-step"
    step: Step = "none"
    decoders: Decoders = "shared"
