r"""Gibbs sampling of bits, one site at a time, for any energy.

.. math:: P(s_i \leftarrow 1 - s_i) = \mathrm{sigmoid}(\log \pi_T(s^{(i)}) - \log \pi_T(s)),

where :math:`s^{(i)}` is s with bit i turned over: the bit is drawn anew given all others. Sites are
visited at random, so that any number of visits satisfies detailed balance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from chainkit.prior import Prior
from chainkit.random import Source, integers, uniform
from chainkit_energy.capabilities import Summable
from chainkit_energy.energy import Energy
from chainkit_energy.operator import ReversibleOperator

if TYPE_CHECKING:
    from chainkit.component import Context
    from chainkit_energy.configs import GibbsConfig


class Gibbs(ReversibleOperator, Summable):
    """Each transition visits sites at random and evaluates the energy once for each visit, and once more.

    Arguments:
        energy: E, of bits.
        visits: Sites visited in one transition, 1 or more; None is one for each element.
        reference: r, with a density; None is flat.

    Raises:
        ValueError: Fewer than one visit.
    """

    def __init__(self, energy: Energy, visits: int | None = None, reference: Prior | None = None) -> None:
        super().__init__(energy, reference)
        if visits is not None and visits < 1:
            raise ValueError(f"a transition visits one site or more, not {visits}")
        self.visits = visits

    def move(self, state: Tensor, temperature: float | Tensor, condition: Any, source: Source) -> Tensor:
        elements, rows = state[0].numel(), torch.arange(len(state), device=state.device)
        level = self.log_target(state, temperature, condition)
        for _ in range(self.visits or elements):
            site = integers(0, elements - 1, len(state), state.device, source)
            other = state.flatten(1).clone()
            other[rows, site] = 1 - other[rows, site]
            other_level = self.log_target(other.view_as(state), temperature, condition)
            turned = uniform(level, source) < (other_level - level).sigmoid()
            state = torch.where(turned[:, None], other, state.flatten(1)).view_as(state)
            level = torch.where(turned, other_level, level)
        return state


def build(config: GibbsConfig, context: Context) -> Gibbs:
    """The operator ``gibbs``."""
    return Gibbs(context.build(config.energy), config.visits, context.prior if config.reference == "prior" else None)
