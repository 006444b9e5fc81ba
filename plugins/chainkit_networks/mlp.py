r"""Fully connected layers.

.. math:: h_1 = \phi(\mathrm{norm}_k(W_1 s_k) + c), \quad h_j = \phi(\mathrm{norm}_k(W_j h_{j-1})), \quad F = V_k h + b_k

The binarised MNIST of the walkback paper has one hidden layer of 4096 tanh (appendix A); the MNIST
of the infusion paper two of 1200 ReLU with batch normalisation per step and two distinct last layers
(section 3.5), which are one product here; the heartbeat of Sohl-Dickstein et al. 2015 three of 50
sigmoids with a last layer per step (appendix D.1.2).
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
from chainkit_networks.configs import Readout as ReadoutKind
from chainkit_networks.layer import Layer
from chainkit_networks.readout import Readout

if TYPE_CHECKING:
    from chainkit.component import Context
    from chainkit_networks.configs import MLPConfig


class MLP(Network):
    """A multilayer perceptron over flattened states.

    Arguments:
        shape: Shape of one state, [*event].
        heads: Number of heads, 1 or more.
        hidden: Units of every hidden layer, at least one layer.
        activation: phi, by name.
        norm: Batch normalisation of the hidden layers: ``none``, ``per-step`` or ``shared``.
        readout: The last layer V: ``shared`` by all steps or one ``per-step``.
        knots: With ``per-step``, how many last layers are learned, 2 or more, the others between them;
            left out, or with K or more, all K.
        step: How c tells the step: ``none``, ``embedding`` or ``scalar``.
        steps: K, 1 or more.
        classes: Number of class labels that condition c, or None.

    Raises:
        ValueError: No hidden layer, an unknown name, knots that do not go with the read-out,
            or labels missing when called.
    """

    def __init__(
        self,
        shape: Sequence[int],
        *,
        heads: int = 1,
        hidden: Sequence[int] = (256,),
        activation: Activation = "relu",
        norm: Norm = "none",
        readout: ReadoutKind = "shared",
        knots: int | None = None,
        step: Step = "none",
        steps: int = 1,
        classes: int | None = None,
    ) -> None:
        super().__init__()
        if not hidden:
            raise ValueError("an MLP has at least one hidden layer")
        widths = [math.prod(shape), *hidden]
        self.conditioning = Conditioning(hidden[0], steps, step=step, classes=classes)
        self.first, *rest = [
            Layer(nn.Linear(inputs, outputs), outputs, norm=norm, steps=steps, activation=activation)
            for inputs, outputs in pairwise(widths)
        ]
        self.rest = nn.ModuleList(rest)
        self.readout = Readout(hidden[-1], shape, heads, steps, readout, knots)

    def forward(self, state: Tensor, k: int | Tensor, condition: Any = None) -> tuple[Tensor, ...]:
        values = self.first(state.flatten(1), k, self.conditioning(k, condition))
        for layer in self.rest:
            values = layer(values, k)
        return self.readout(values, k)

    def bias_heads(self, biases: Sequence[Tensor | None]) -> None:
        self.readout.bias_heads(biases)


def build(config: MLPConfig, context: Context) -> MLP:
    """The network ``mlp``."""
    return MLP(
        context.data.shape,
        heads=context.heads,
        hidden=config.hidden,
        activation=config.activation,
        norm=config.norm,
        readout=config.readout,
        knots=config.knots,
        step=config.step,
        steps=context.steps,
        classes=classes_told(context.data),
    )
