"""One step of a walk, as the operator is trained on it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs
import torch
from torch import Tensor

from chainkit.capabilities import Density, Distribution, Reversible
from chainkit.states import State


@attrs.frozen(kw_only=True, eq=False)
class Transition:
    """One step of a walk.

    Arguments:
        k: Step index in 1..K, an int or a LongTensor [B].
        steps: K, the length of the chain.
        state: s_k, what the operator sees.
        previous: s_{k-1}, one step nearer to the data; None where the walk has not drawn it.
        origin: x, the data point that the walk belongs to.
        condition: What the walk is conditioned on, or None.
        reverse: p(s_{k-1} | s_k) at T_k, with gradient.
        weight: 1 / probability of this step where steps are drawn at random, else 1.
        log_ratio: [B], this step's share of log w in nats; None unless asked for. Over a complete
            walk the shares sum to log p(x, s_1..s_K) - log q(s_1..s_K | x).
    """

    k: int | Tensor
    steps: int
    state: State
    previous: State | None
    origin: State
    condition: Any = None
    reverse: Distribution
    weight: float = 1.0
    log_ratio: Tensor | None = None


def log_ratio(reverse: Distribution, previous: State, forward: Distribution, state: State) -> Tensor:
    """log p(s_{k-1} | s_k) - log q(s_k | s_{k-1}) of one step: [B], in nats.

    Two tractable densities are subtracted. Where both directions are one reversible transition
    without a density of its own, detailed balance gives ``log pi(s_{k-1}) - log pi(s_k)``, the
    step of annealed importance sampling.

    Arguments:
        reverse: p(. | s_k).
        previous: s_{k-1}.
        forward: q(. | s_{k-1}), of the same temperature.
        state: s_k.

    Raises:
        TypeError: The distributions have neither a density nor a known target.
    """
    if isinstance(reverse, Density) and isinstance(forward, Density):
        return reverse.log_prob(previous) - forward.log_prob(state)
    if isinstance(reverse, Reversible) and isinstance(forward, Reversible):
        return reverse.log_target(previous) - reverse.log_target(state)
    raise TypeError(f"log w needs kernels with a density (Density) or with a known target (Reversible), got {type(reverse).__name__}")


def total_log_ratio(walk: Iterable[Transition]) -> Tensor:
    """log w of complete walks, the sum of their steps' shares: float64 [B], in nats.

    Arguments:
        walk: The transitions of one complete walk, drawn ``with_log_ratio``.

    Raises:
        ValueError: The walk has no steps, or a step without its share.
    """
    total: Tensor | None = None
    for transition in walk:
        share = _share(transition)
        total = share if total is None else total + share
    return _walked(total)


def log_ratio_by_step(walk: Iterable[Transition]) -> Tensor:
    """The shares of log w of complete walks by step, k = 1..K: float64 [B, K], in nats.

    Arguments:
        walk: The transitions of one complete walk, drawn ``with_log_ratio``.

    Raises:
        ValueError: The walk has no steps, or a step without its share.
    """
    shares: Tensor | None = None
    for transition in walk:
        share = _share(transition)
        if shares is None:
            shares = share.new_zeros(len(share), transition.steps)
        place = torch.as_tensor(transition.k - 1, device=share.device).expand(len(share))
        shares.scatter_add_(1, place[:, None], share[:, None])
    return _walked(shares)


def _share(transition: Transition) -> Tensor:
    if transition.log_ratio is None:
        raise ValueError(f"step {transition.k} of the walk has no log_ratio")
    return transition.log_ratio.double()


def _walked(found: Tensor | None) -> Tensor:
    if found is None:
        raise ValueError("a walk without steps has no log w")
    return found
