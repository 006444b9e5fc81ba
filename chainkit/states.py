"""States are opaque to the core.

A state is a tensor [B, *event], or a nested tuple of such tensors whose shapes may depend on the
step: (v, h) of a Boltzmann machine, the latents of a hierarchy. The core never indexes or reshapes
one (its type is Any); what it must do with every tensor inside, it does through :func:`map_state`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from torch import Tensor

State: TypeAlias = Any


def map_state(function: Callable[[Tensor], Tensor], state: State) -> State:
    """Applies ``function`` to every tensor of a state and keeps the nesting.

    Arguments:
        function: Maps one tensor to one tensor.
        state: A tensor or a nested tuple of tensors.
    """
    if isinstance(state, Tensor):
        return function(state)
    return tuple(map_state(function, part) for part in state)


def tensors(state: State) -> list[Tensor]:
    """Every tensor of a state, in order."""
    return [state] if isinstance(state, Tensor) else [tensor for part in state for tensor in tensors(part)]


def detach(state: State) -> State:
    """The same state, cut from the graph."""
    return map_state(Tensor.detach, state)


def per_row(values: Tensor, like: Tensor) -> Tensor:
    """Reshapes one value per row, [B], so that it broadcasts over ``like``, [B, *event]."""
    return values.reshape(-1, *[1] * (like.dim() - 1))
