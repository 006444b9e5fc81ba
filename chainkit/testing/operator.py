"""Transition operators: kernels whose distributions keep their promises, one row like many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from chainkit.capabilities import Density, Distribution, HasMean, Reversible
from chainkit.kernel import Kernel
from chainkit.operator import TransitionOperator
from chainkit.random import Rows, seeded
from chainkit.states import State, map_state
from chainkit.testing.distribution import check_distribution
from chainkit.testing.expect import expect_close, expect_type, leaves, own_draws
from chainkit.testing.modules import check_gradients, check_precisions, check_round_trip, check_rows
from chainkit.testing.resume import Backward, check_resume

HOT = 2.0
"""A temperature at which kernels are checked besides 1."""


class _Facts:
    """Evaluates operators to tensors that tell what distribution they give, at states drawn once.

    Arguments:
        previous: s_{k-1}, one state per row.
    """

    def __init__(self, previous: State) -> None:
        self.previous = previous

    def __call__(self, operator: nn.Module, state: State, k: Any, condition: Any) -> Sequence[Tensor]:
        """The mean and the log density of ``previous``; of a single row, its first state's."""
        distribution = operator(state, k, condition).at(1.0)
        first = leaves(state)[0]
        previous = map_state(lambda part: part[: len(first)].to(first.dtype), self.previous)
        facts = [distribution.mean] if isinstance(distribution, HasMean) else []
        if isinstance(distribution, Density):
            facts.append(distribution.log_prob(previous))
        elif isinstance(distribution, Reversible):
            facts.append(distribution.log_target(previous))
        return facts or leaves(distribution.sample(Rows([seeded(first.device, 0) for _ in first])))


def check_operator(
    operator: TransitionOperator, state: State, *, steps: int, condition: Any = None, seed: int = 0, where: str = "operator"
) -> None:
    """Checks a transition operator.

    Arguments:
        operator: The operator, float32; left in evaluation mode.
        state: Two states or more, [B, *event], float32, on the operator's device.
        steps: K.
        condition: One row per state, or None.
        seed: Seed of all draws.
        where: Name for messages.

    Raises:
        AssertionError: It breaks what :class:`chainkit.operator.TransitionOperator` promises.
    """
    expect_type(operator, TransitionOperator, where)
    device = leaves(state)[0].device
    for k in sorted({1, steps}):
        with own_draws(f"{where} at k = {k}, trained"):
            kernel = operator.train()(state, k, condition)
        expect_type(kernel, Kernel, f"{where} at k = {k}")
        distribution = kernel.at(1.0)
        expect_type(distribution, Distribution, f"{where} at k = {k}, at temperature 1")
        previous = distribution.sample(seeded(device, seed, k))
        if isinstance(distribution, Density):
            loss = -distribution.log_prob(previous).mean()
            # Of a single step, such as the one onto the data, an operator may leave nothing to be learned.
            check_gradients(operator, loss, f"{where}, -log p(s_{k - 1} | s_{k})", some=k > 1)
    check_resume(operator, _likelihood(state, steps, condition, seed), where)
    operator.eval()
    with torch.no_grad():
        for k, temperature in {(1, 1.0), (steps, HOT)}:
            place = f"{where} at k = {k}, at temperature {temperature:g}"
            check_distribution(operator(state, k, condition).at(temperature), seed=seed, device=device, where=place)
        _check_rows_of_draws(operator, state, steps, condition, seed, where)
        alike = map_state(lambda part: part[:1].expand_as(part), operator(state, 1, condition).at(1.0).sample(seeded(device, seed)))
        facts = _Facts(alike)
        check_rows(operator, facts, state, steps, condition, where, mixed=_one_shape(operator, state, steps, condition))
        check_precisions(operator, facts, state, 1, condition, where, wide=True)
        check_round_trip(operator, facts, state, steps, condition, where)


def _likelihood(state: State, steps: int, condition: Any, seed: int) -> Backward:
    """Trains on -log p(s_{k-1} | s_k) of drawn s_{k-1}; what has no density, or nothing to be learned, is left as it is."""

    def backward(operator: nn.Module, update: int) -> None:
        distribution = operator(state, steps, condition).at(1.0)
        previous = distribution.sample(seeded(leaves(state)[0].device, seed, update))
        if isinstance(distribution, Density) and (loss := -distribution.log_prob(previous).mean()).requires_grad:
            loss.backward()

    return backward


def _one_shape(operator: TransitionOperator, state: State, steps: int, condition: Any) -> bool:
    """Whether the states before the first and the last step are alike, so that rows at both can share a batch."""
    drawn = [operator(state, k, condition).at(1.0).sample(seeded(leaves(state)[0].device, 0)) for k in (1, steps)]
    first, last = ([part.shape for part in leaves(each)] for each in drawn)
    return first == last


def _check_rows_of_draws(operator: TransitionOperator, state: State, steps: int, condition: Any, seed: int, where: str) -> None:
    """What is drawn for a row from its own source does not depend on the rows beside it."""
    device, rows = leaves(state)[0].device, len(leaves(state)[0])

    def draw(chosen: slice) -> Sequence[Tensor]:
        beside = None if condition is None else map_state(lambda part: part[chosen], condition)
        kernel = operator(map_state(lambda part: part[chosen], state), steps, beside)
        return leaves(kernel.at(1.0).sample(Rows([seeded(device, seed, row) for row in range(rows)[chosen]])))

    together = draw(slice(None))
    for part, alone in zip(together, draw(slice(1, 2)), strict=True):
        expect_close(part[1:2], alone, f"{where}, a draw among others against the draw alone", tolerance=1e-3)
