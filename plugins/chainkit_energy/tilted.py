r"""An energy from any network: the prior, tilted.

.. math:: p(s) \propto p^*(s)\, e^{f(s)}, \qquad E(s) = -\log p^*(s) - f(s)

(Xie, Lu, Zhu and Wu 2016). The prior keeps the law normalisable as long as f grows more slowly than
-log p* far from the data, as a network of tanh, or of ReLU beside a Gaussian, does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from chainkit.network import Network
from chainkit.prior import Prior
from chainkit.statistics import normalisers
from chainkit_energy.energy import Energy, wide

if TYPE_CHECKING:
    from chainkit.component import Context
    from chainkit_energy.configs import TiltedConfig


class Tilted(Energy):
    """-log p*(s) - f(s), where f is the sum of the network's only head.

    Arguments:
        prior: p*, with a density.
        network: Gives f, one term per element of s; evaluated as at step 1 throughout.

    Raises:
        ValueError: The network normalises over its batch: the energy of a state would depend on others.
    """

    def __init__(self, prior: Prior, network: Network) -> None:
        super().__init__()
        if normalisers(network):
            raise ValueError('network: an energy is a function of one state, which batch normalisation is not; set norm = "none"')
        self.prior = prior
        self.network = network

    def forward(self, state: Tensor, condition: Any = None) -> Tensor:
        (terms,) = self.network(state, 1, condition)
        return -self.prior(len(state)).log_prob(state) - wide(terms).flatten(1).sum(1)


def build(config: TiltedConfig, context: Context) -> Tilted:
    """The energy ``tilted``."""
    return Tilted(context.prior, context.build(config.network, heads=1))
