"""Forward processes: one network evaluation per state, in every precision, and shares of log w that add up."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from chainkit.batch import Batch
from chainkit.capabilities import Density, Distribution, RandomAccess, Reparametrised
from chainkit.chain import Chain
from chainkit.modes import evaluating
from chainkit.process import ForwardProcess
from chainkit.random import seeded
from chainkit.states import map_state
from chainkit.testing.expect import expect, expect_tensor, expect_type, leaves, own_draws
from chainkit.testing.modules import check_gradients
from chainkit.testing.resume import Backward, check_resume
from chainkit.testing.weights import check_log_weights, check_marginals
from chainkit.transition import Transition, total_log_ratio


def check_process(
    process: ForwardProcess, chain: Chain, batch: Batch, *, exact: Tensor | None = None, seed: int = 0, where: str = "process"
) -> None:
    """Checks a forward process.

    Arguments:
        process: The process, on the device of the batch.
        chain: A chain that it can walk, likewise.
        batch: Two examples or more.
        exact: log p(x) of each example under the chain, [B] in nats, where it is known.
        seed: Seed of all draws.
        where: Name for messages.

    Raises:
        AssertionError: It breaks what :class:`chainkit.process.ForwardProcess` promises.
    """
    expect_type(process, ForwardProcess, where)
    device = leaves(batch.origin)[0].device
    with _evaluations(chain) as count, own_draws(f"{where}.walk"):
        walk = list(process.walk(chain, batch, source=seeded(device, seed)))
    promised = (chain.steps, chain.steps + 1)
    expect(count[0] in promised, f"{where}.walk", f"{promised[0]} evaluations of the operator, or {promised[1]}", count[0])
    steps = [transition.k for transition in walk]
    expect(sorted(map(int, steps)) == list(range(1, chain.steps + 1)), f"{where}.walk", f"each k in 1..{chain.steps} once", steps)
    for transition in walk:
        _check_transition(transition, chain, batch, where)
        expect(transition.log_ratio is None, f"{where}.walk without log_ratio", "None", "a log_ratio")
    _check_order(walk, batch, where)
    _check_repetition(walk, process.walk(chain, batch, source=seeded(device, seed)), where)
    if isinstance(process, RandomAccess):
        _check_visits(process, chain, batch, seed, where)
    with evaluating(chain, process), torch.no_grad():
        check_log_weights(process, chain, batch, exact, seed, where)
        check_marginals(process, chain, batch, seed, where)
    _check_precisions(process, chain, batch, seed, where)
    if isinstance(walk[0].reverse, Reparametrised):
        _check_path(process, chain, batch, seed, where)
    if isinstance(walk[0].reverse, Density):
        check_resume(nn.ModuleList([chain, process]), _likelihood(batch, seed), where)


@contextmanager
def _evaluations(chain: Chain) -> Iterator[list[int]]:
    """Counts how often the operator is evaluated."""
    count = [0]

    def evaluated(*arguments: Any) -> None:
        count[0] += 1

    handle = chain.operator.register_forward_hook(evaluated)
    try:
        yield count
    finally:
        handle.remove()


def _check_transition(transition: Transition, chain: Chain, batch: Batch, where: str) -> None:
    place = f"{where}.walk at k = {transition.k}"
    expect(transition.steps == chain.steps, place, f"steps = {chain.steps}", transition.steps)
    expect_type(transition.reverse, Distribution, place)
    known = [("state", transition.state), ("origin", transition.origin)]
    known += [("previous", transition.previous)] if transition.previous is not None else []
    for name, state in known:
        for part in leaves(state):
            expect_tensor(part, (batch.rows, *part.shape[1:]), f"{place}, {name}")
            expect(not part.requires_grad, f"{place}, {name}", "a detached state, without path_gradient", "one with gradient")


def _check_order(walk: list[Transition], batch: Batch, where: str) -> None:
    """s_{k-1} of one step is s_k of the next, and s_0 is x."""
    by_step = {int(transition.k): transition for transition in walk}
    for k, transition in by_step.items():
        if transition.previous is None:
            continue
        target = batch.origin if k == 1 else by_step[k - 1].state
        equal = all(map(torch.equal, leaves(transition.previous), leaves(target)))
        expect(equal, f"{where}.walk at k = {k}", "previous to be x" if k == 1 else f"previous to be the state at {k - 1}", "another state")


def _check_repetition(walk: list[Transition], again: Iterator[Transition], where: str) -> None:
    for first, second in zip(walk, again, strict=True):
        equal = all(map(torch.equal, leaves(first.state), leaves(second.state)))
        expect(equal, f"{where}.walk at k = {first.k}", "the same states from the same source", "others")


def _check_precisions(process: ForwardProcess, chain: Chain, batch: Batch, seed: int, where: str) -> None:
    """Walks in float64 and, as training does, under bfloat16 autocast."""
    device = leaves(batch.origin)[0].device
    wide_chain, wide_process = copy.deepcopy((chain, process))
    wide = attrs.evolve(batch, origin=map_state(Tensor.double, batch.origin))
    for transition in wide_process.double().walk(wide_chain.double(), wide, source=seeded(device, seed), with_log_ratio=True):
        place = f"{where}.walk at k = {transition.k} in float64"
        expect_tensor(transition.log_ratio, (batch.rows,), f"{place}, log_ratio")
        kinds = {part.dtype for part in leaves((transition.state, transition.log_ratio))}
        expect(kinds == {torch.float64}, place, "a state and a log_ratio in float64", kinds)
    with torch.autocast(device.type, torch.bfloat16):
        for transition in process.walk(chain, batch, source=seeded(device, seed), with_log_ratio=True):
            expect_tensor(transition.log_ratio, (batch.rows,), f"{where}.walk at k = {transition.k} under bfloat16 autocast, log_ratio")


def _likelihood(batch: Batch, seed: int) -> Backward:
    """Trains chain and process on -log p of every step of a walk, of x itself where the walk has not drawn s_{k-1}."""

    def backward(pair: nn.Module, update: int) -> None:
        chain, process = pair.children()
        assert isinstance(chain, Chain)
        assert isinstance(process, ForwardProcess)
        source = seeded(leaves(batch.origin)[0].device, seed, update)
        for transition in process.walk(chain, batch, source=source):
            target = batch.origin if transition.previous is None else transition.previous
            assert isinstance(transition.reverse, Density)
            loss = -transition.reverse.log_prob(target).mean()
            if loss.requires_grad:
                loss.backward()

    return backward


def _check_visits(process: Any, chain: Chain, batch: Batch, seed: int, where: str) -> None:
    """Any step can be visited alone, by an int or by one index per row, with one evaluation."""
    device = leaves(batch.origin)[0].device
    mixed = torch.arange(batch.rows, device=device) % chain.steps + 1
    for k in (1, chain.steps, mixed):
        with _evaluations(chain) as count:
            transition = process.visit(chain, batch, k, source=seeded(device, seed), with_log_ratio=True)
        expect(count[0] == 1, f"{where}.visit", "one evaluation of the operator", count[0])
        expect(transition.k is k, f"{where}.visit", f"a transition at k = {k}", transition.k)
        expect_tensor(transition.log_ratio, (batch.rows,), f"{where}.visit, log_ratio")


def _check_path(process: ForwardProcess, chain: Chain, batch: Batch, seed: int, where: str) -> None:
    """With ``path_gradient``, log w has a gradient to the operator."""
    source = seeded(leaves(batch.origin)[0].device, seed)
    total = total_log_ratio(process.walk(chain, batch, source=source, path_gradient=True, with_log_ratio=True))
    check_gradients(chain.operator, -total.mean(), f"{where}.walk with path_gradient, -log w")
