r"""Block Gibbs sampling of energies with hidden units.

.. math:: h \sim p_T(h | v), \qquad v' \sim p_T(v' | h), \qquad
    \pi_T(v) \propto r(v)^{1 - 1/T} \sum_h e^{-E(v, h) / T}

The hidden units are heated with the visible ones, so that both laws stay factorial (Salakhutdinov
and Murray 2008). pi_T is the free energy's law at T = 1. Seen on the visible units alone, the
transition satisfies detailed balance with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.nn.functional import softplus

from chainkit.kernel import divisor
from chainkit.prior import Prior
from chainkit.random import Source
from chainkit_energy.capabilities import Level, Summable
from chainkit_energy.energy import Bipartite
from chainkit_energy.operator import ReversibleOperator
from chainkit_energy.tempering import tempered

if TYPE_CHECKING:
    from chainkit.component import Context
    from chainkit_energy.configs import BlockGibbsConfig


class BlockGibbs(ReversibleOperator, Summable):
    """Draws all hidden units, then all visible ones.

    Arguments:
        energy: E(v, h).
        sweeps: How often in one transition, 1 or more.
        reference: r, independent bits or Gaussians as the visible units are; None is flat.

    Raises:
        ValueError: Fewer than one sweep.
        TypeError: The energy has no hidden units.
    """

    energy: Bipartite

    def __init__(self, energy: Bipartite, sweeps: int = 1, reference: Prior | None = None) -> None:
        super().__init__(energy, reference)
        if not isinstance(energy, Bipartite):
            raise TypeError(f"block Gibbs sampling needs an energy with hidden units, not {type(energy).__name__}")
        if sweeps < 1:
            raise ValueError(f"a transition has one sweep or more, not {sweeps}")
        self.sweeps = sweeps

    def level(self, state: Tensor, condition: Any = None) -> Level:
        bare, fields = self.energy.bare(state), self.energy.hidden(state).logits

        def heated(temperature: float | Tensor) -> Tensor:
            return softplus(fields / divisor(temperature, fields)).sum(1) - bare / temperature

        return self._towards_reference(state, heated)

    def move(self, state: Tensor, temperature: float | Tensor, condition: Any, source: Source) -> Tensor:
        reference = None if self.reference is None else self.reference(len(state))
        for _ in range(self.sweeps):
            hidden = tempered(self.energy.hidden(state), temperature).sample(source)
            state = tempered(self.energy.visible(hidden), temperature, reference).sample(source)
        return state


def build(config: BlockGibbsConfig, context: Context) -> BlockGibbs:
    """The operator ``block-gibbs``."""
    return BlockGibbs(context.build(config.energy), config.sweeps, context.prior if config.reference == "prior" else None)
