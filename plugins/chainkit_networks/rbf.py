r"""A normalised radial basis function network.

.. math:: h_j = \frac{e^{a_j}}{\sum_i e^{a_i}}, \qquad a_j = -\frac{|s_k - c_j|^2}{2 w_j^2}, \qquad F = V_k h + b_k

The swiss roll of Sohl-Dickstein et al. 2015 has 16 units and a last layer per step (appendix D.1.1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from chainkit.network import Network
from chainkit_networks.conditioning import Conditioning, classes_told
from chainkit_networks.configs import Readout as ReadoutKind
from chainkit_networks.configs import Step
from chainkit_networks.readout import Readout

if TYPE_CHECKING:
    from chainkit.component import Context
    from chainkit_networks.configs import RBFConfig

SMALLEST = 1e-8
"""Smallest initial width, squared: data may be constant."""


class RadialBasis(Network):
    """Radial units with learned centres c_j and widths w_j, over flattened states.

    Memory is B x units x elements of a state: a network for states of few elements.

    Arguments:
        shape: Shape of one state, [*event].
        heads: Number of heads, 1 or more.
        units: Number of radial units, 1 or more.
        readout: The last layer V: one ``per-step`` or ``shared`` by all steps.
        step: How a_j is told the step, by an added term: ``none``, ``embedding`` or ``scalar``.
        steps: K, 1 or more.
        classes: Number of class labels, each of which adds a term to a_j, or None.

    Raises:
        ValueError: An unknown name, or labels missing when called.
    """

    def __init__(
        self,
        shape: Sequence[int],
        *,
        heads: int = 1,
        units: int = 16,
        readout: ReadoutKind = "per-step",
        step: Step = "none",
        steps: int = 1,
        classes: int | None = None,
    ) -> None:
        super().__init__()
        dim = math.prod(shape)
        self.centres = nn.Parameter(torch.empty(units, dim))
        self.log_width = nn.Parameter(torch.zeros(units))
        self.conditioning = Conditioning(units, steps, step=step, classes=classes)
        self.readout = Readout(units, shape, heads, steps, readout)
        self.spread(torch.zeros(dim), torch.ones(dim))

    @torch.no_grad()
    def spread(self, mean: Tensor, variance: Tensor) -> None:
        """Draws the centres from N(mean, variance), and sets all widths to the standard deviation of an element, on average.

        Arguments:
            mean: Mean of the states, [*event], in model units.
            variance: Their variance, [*event], in squared model units.
        """
        nn.init.normal_(self.centres)
        self.centres.mul_(variance.flatten().sqrt()).add_(mean.flatten())
        self.log_width.fill_(0.5 * math.log(max(float(variance.mean()), SMALLEST)))

    def forward(self, state: Tensor, k: int | Tensor, condition: Any = None) -> tuple[Tensor, ...]:
        squares = (state.flatten(1)[:, None] - self.centres).square().sum(2)
        activity = -0.5 * squares * (-2 * self.log_width).exp()
        extra = self.conditioning(k, condition)
        return self.readout((activity if extra is None else activity + extra).softmax(1), k)

    def bias_heads(self, biases: Sequence[Tensor | None]) -> None:
        self.readout.bias_heads(biases)


def build(config: RBFConfig, context: Context) -> RadialBasis:
    """The network ``rbf``, its centres drawn with the moments of the training data."""
    network = RadialBasis(
        context.data.shape,
        heads=context.heads,
        units=config.units,
        readout=config.readout,
        step=config.step,
        steps=context.steps,
        classes=classes_told(context.data),
    )
    network.spread(context.data.mean, context.data.variance)
    return network
