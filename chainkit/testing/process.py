r"""Forward processes: one network evaluation per state, and shares of log w that add up.

Whatever the process, :math:`E[w] = p(x)`; where p(x) is known, that ties q, p and the prior
together in one number.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from chainkit.batch import Batch
from chainkit.capabilities import Distribution, HasMean, Posteriors, RandomAccess, Reparametrised
from chainkit.chain import Chain
from chainkit.modes import evaluating
from chainkit.process import ForwardProcess
from chainkit.random import Rows, seeded
from chainkit.states import map_state
from chainkit.testing.expect import SIGMAS, expect, expect_close, expect_mean, expect_tensor, expect_type, leaves
from chainkit.testing.modules import check_gradients
from chainkit.transition import Transition, total_log_ratio

WALKS = 3000


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
    with _evaluations(chain) as count:
        walk = list(process.walk(chain, batch, source=seeded(device, seed)))
    promised = (chain.steps, chain.steps + 1)
    expect(count[0] in promised, f"{where}.walk", f"{promised[0]} evaluations of the operator, or {promised[1]}", count[0])
    steps = [transition.k for transition in walk]
    expect(sorted(map(int, steps)) == list(range(1, chain.steps + 1)), f"{where}.walk", f"each k in 1..{chain.steps} once", steps)
    for transition in walk:
        _check_transition(transition, chain, batch, where)
        expect(transition.log_ratio is None, f"{where}.walk without log_ratio", "None", "a log_ratio")
    _check_order(walk, batch, where)
    with evaluating(chain, process), torch.no_grad():
        _check_log_weights(process, chain, batch, exact, seed, where)
    if isinstance(walk[0].reverse, Reparametrised):
        _check_path(process, chain, batch, seed, where)
    if isinstance(process, RandomAccess):
        _check_visits(process, chain, batch, seed, where)
    if isinstance(process, Posteriors):
        _check_marginals(process, chain, batch, seed, where)


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


def _log_weights(process: ForwardProcess, chain: Chain, batch: Batch, index: list[int], walks: int, seed: int) -> Tensor:
    """log w of walks from some examples, each with random numbers of its own: [examples, walks]."""
    device = leaves(batch.origin)[0].device
    chosen = Batch(
        origin=map_state(lambda part: part[index], batch.origin),
        rows=len(index),
        condition=None if batch.condition is None else map_state(lambda part: part[index], batch.condition),
    )
    source = Rows([seeded(device, seed, i) for i in index], walks)
    walk = process.walk(chain, chosen.repeat(walks), source=source, with_log_ratio=True)
    return total_log_ratio(walk).view(len(index), walks)


def _check_log_weights(process: ForwardProcess, chain: Chain, batch: Batch, exact: Tensor | None, seed: int, where: str) -> None:
    every = list(range(batch.rows))
    together, alone = _log_weights(process, chain, batch, every, 5, seed), _log_weights(process, chain, batch, [1], 5, seed)
    expect_tensor(together, (batch.rows, 5), f"{where}, log w")
    expect_close(together[1:2], alone, f"{where}, log w of an example among others against that of the example alone")
    log_w = _log_weights(process, chain, batch, every, WALKS, seed + 1)
    peak = log_w.amax(1, keepdim=True)
    weights = (log_w - peak).exp()
    estimate = weights.mean(1).log() + peak.squeeze(1)
    bound = log_w.mean(1)
    expect(bool((bound <= estimate).all()), f"{where}, E[log w]", "at most log E[w]", f"{bound.tolist()} above {estimate.tolist()}")
    if exact is None:
        return
    error = weights.std(1) / weights.mean(1) / math.sqrt(WALKS)
    distance = (estimate - exact.double()).abs() / (error + 1e-5)
    words = f"log p(x) = {[round(value, 4) for value in exact.tolist()]} within {SIGMAS:g} standard errors"
    seen = f"{[round(value, 4) for value in estimate.tolist()]}, off by {[round(value, 1) for value in distance.tolist()]} of them"
    expect(bool((distance <= SIGMAS).all()), f"{where}, log E[w]", words, seen)


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


def _check_marginals(process: Posteriors, chain: Chain, batch: Batch, seed: int, where: str) -> None:
    """E over q(s_k | x) of q(s_{k-1} | s_k, x) is q(s_{k-1} | x): seen by its mean."""
    if chain.steps < 2:
        return
    k, many = chain.steps, batch.repeat(WALKS)
    source = seeded(leaves(batch.origin)[0].device, seed)
    state = process.marginal(many.origin, k).sample(source)
    previous = process.posterior(state, many.origin, k).sample(source)
    target = process.marginal(batch.origin, k - 1)
    if isinstance(target, HasMean) and isinstance(previous, Tensor):
        drawn = previous.unflatten(0, (batch.rows, WALKS)).transpose(0, 1)
        expect_mean(
            drawn, target.mean.detach().double(), f"{where}.posterior at k = {k}, averaged over s_k, against the marginal at {k - 1}"
        )


def _check_path(process: ForwardProcess, chain: Chain, batch: Batch, seed: int, where: str) -> None:
    """With ``path_gradient``, log w has a gradient to the operator."""
    source = seeded(leaves(batch.origin)[0].device, seed)
    total = total_log_ratio(process.walk(chain, batch, source=source, path_gradient=True, with_log_ratio=True))
    check_gradients(chain.operator, -total.mean(), f"{where}.walk with path_gradient, -log w")
