r"""Annealed chains: from the prior down to the energy, and the weight of the way.

A chain of N reversible transitions R_k at temperatures T_N..T_1 draws

.. math:: s_N \sim p^*, \quad s_{k-1} \sim R_k(\cdot | s_k), \qquad
    \log w = \log p^*(s_N) + \sum_{k=1}^{N} \left[ \log \pi_k(s_{k-1}) - \log \pi_k(s_k) \right]

with log w = log p(s_0..s_N) - log q(s_1..s_N | s_0), q heating by the same transitions: the log w of
:mod:`chainkit.log_weight`, here of a path that was drawn from the noise end. With
:math:`\log \tilde p(s) = -E(s)`, the weight of annealed importance sampling is
:math:`\log \tilde p(s_0) - \log w` (Neal 2001), and its mean, not of the logarithm, is Z.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from chainkit.chain import Chain
from chainkit.interrupt import poll
from chainkit.random import Source
from chainkit_energy.operator import ReversibleOperator


def stretched(chain: Chain, steps: int | None) -> Chain:
    """The same chain with another number of transitions, its temperatures those of that length.

    Arguments:
        chain: A chain whose operator is reversible and comes from an energy.
        steps: N, 1 or more; None is the chain's own K.

    Raises:
        TypeError: Another kind of operator.
    """
    if not isinstance(chain.operator, ReversibleOperator):
        raise TypeError(f"annealing needs reversible transitions that come from an energy, not {type(chain.operator).__name__}")
    return Chain(chain.prior, chain.operator, steps or chain.steps, temperature=chain.temperature)


@torch.no_grad()
def annealed(chain: Chain, rows: int, condition: Any = None, source: Source = None) -> tuple[Tensor, Tensor]:
    """Draws from the prior and cools; costs one more evaluation of the energy per state than sampling does.

    Arguments:
        chain: As :func:`stretched` gives it.
        rows: How many chains.
        condition: What to condition on, one row per chain, or None.
        source: Where the random numbers come from.

    Returns:
        s_0, [rows, *event], and log w, float64 [rows], in nats.
    """
    operator, prior = cast(ReversibleOperator, chain.operator), chain.prior(rows)
    state = prior.sample(source)
    log_w = prior.log_prob(state).double()
    level = operator.level(state, condition)
    for k, temperature in reversed(list(enumerate(chain.temperatures(), 1))):
        poll()
        state = operator(state, k, condition).at(temperature).sample(source)
        following = operator.level(state, condition)
        log_w += following(temperature) - level(temperature)
        level = following
    return state, log_w
