"""Assertions that say where, what was expected, and what was seen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from chainkit.states import State, map_state

SIGMAS = 5.0
"""Standard errors that a statistical check allows."""


def expect(holds: bool, where: str, expected: str, seen: Any) -> None:
    """Raises unless a condition holds.

    Arguments:
        holds: The condition.
        where: What is being checked.
        expected: What should be.
        seen: What is.

    Raises:
        AssertionError: It does not hold.
    """
    if not holds:
        raise AssertionError(f"{where}: expected {expected}, seen {seen}")


def expect_type(value: Any, kind: type, where: str) -> None:
    """The value is an instance of ``kind``."""
    expect(isinstance(value, kind), where, f"an instance of {kind.__name__}", type(value).__name__)


def expect_tensor(value: Any, shape: tuple[int, ...], where: str) -> None:
    """The value is a tensor of that shape without NaN or infinity."""
    expect_type(value, Tensor, where)
    expect(tuple(value.shape) == tuple(shape), where, f"the shape {list(shape)}", list(value.shape))
    expect(bool(value.isfinite().all()), where, "finite numbers", f"{int((~value.isfinite()).sum())} that are not")


def expect_close(value: Tensor, target: Tensor, where: str, *, tolerance: float = 1e-4) -> None:
    """Two tensors agree, up to a tolerance relative to the larger of 1 and the numbers themselves.

    Arguments:
        value: What was seen.
        target: What was expected.
        where: What is being checked.
        tolerance: Above 0.
    """
    expect(value.shape == target.shape, where, f"the shape {list(target.shape)}", list(value.shape))
    value, target = value.detach().double(), target.detach().double()
    error = (value - target).abs() / target.abs().clamp(min=1)
    worst = float(error.max()) if error.numel() else 0.0
    expect(worst <= tolerance, where, f"agreement within {tolerance:g}", f"a largest difference of {worst:.3g}")


def expect_mean(draws: Tensor, target: Tensor | float, where: str, *, slack: float = 1e-6) -> None:
    """Averages over the first dimension agree with their expectation, within five standard errors.

    Arguments:
        draws: Independent draws, [n, ...].
        target: Their expectation, broadcastable to the rest.
        where: What is being checked.
        slack: Allowed besides, relative to 1 + the expectation: for what is so rare that it may be
            missing from the draws.
    """
    draws = draws.double()
    error = draws.std(0) / len(draws) ** 0.5
    allowed = SIGMAS * error + slack * (1 + torch.as_tensor(target).abs())
    worst = SIGMAS * float(((draws.mean(0) - target).abs() / allowed).max())
    expect(worst <= SIGMAS, where, f"a mean within {SIGMAS:g} standard errors of its expectation", f"a distance of {worst:.2f} of them")


def expect_same_mean(first: Tensor, second: Tensor, where: str) -> None:
    """Averages of two sets of independent draws agree, within five standard errors of their difference.

    Arguments:
        first: Independent draws, [n, ...].
        second: Others, [m, ...].
        where: What is being checked.
    """
    first, second = first.double(), second.double()
    error = (first.var(0) / len(first) + second.var(0) / len(second)).sqrt()
    worst = float(((first.mean(0) - second.mean(0)).abs() / (error + 1e-6)).max())
    expect(worst <= SIGMAS, where, f"the same mean within {SIGMAS:g} standard errors", f"a distance of {worst:.2f} of them")


@contextmanager
def own_draws(where: str) -> Iterator[None]:
    """What is done inside draws from its own sources, and leaves torch's global generators as they were.

    Arguments:
        where: What is being checked.
    """
    before = _generators()
    yield
    same = all(map(torch.equal, before, _generators()))
    expect(same, where, "no draws from torch's global generator", "some")


def _generators() -> list[Tensor]:
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [])]


def leaves(state: State) -> list[Tensor]:
    """The tensors of a state, from left to right."""
    found: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    map_state(keep, state)
    return found
