r"""Is log q what a process says it is? Its log w is held against numbers that know nothing of q.

- :math:`E_q[w] = p(x)`, where p(x) is known, or is estimated by draws of the chain alone,
  :math:`p(x) = E[p(x | s_1)]` over the s_1 that the chain generates;
- :math:`E_q[\log w] \le \log p(x)`, also where few walks carry the mean of w, as those of a wrong log q often do;
- steps visited alone give, summed over k, the same bound E[log w] as complete walks;
- the states of walks are draws of the marginals that the process states, and so are draws of its
  posteriors over states drawn from its marginals.

All of it in five standard errors; where none of the first two can be tested, a warning says so.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch
from torch import Tensor

from chainkit.batch import Batch
from chainkit.capabilities import Density, Marginals, Posteriors, RandomAccess
from chainkit.chain import Chain
from chainkit.process import ForwardProcess
from chainkit.random import Rows, seeded
from chainkit.testing.distribution import LARGEST, check_draws
from chainkit.testing.expect import SIGMAS, expect, expect_close, expect_same_mean, expect_tensor, leaves
from chainkit.transition import total_log_ratio

WALKS = 3000
DRAWS = 10_000
"""Draws of the chain for each estimate of p(x)."""
EFFECTIVE = 100
"""Effective number of draws below which an estimate is not trusted with its standard error."""


def check_log_weights(process: ForwardProcess, chain: Chain, batch: Batch, exact: Tensor | None, seed: int, where: str) -> None:
    """Checks log w of complete walks; in evaluation mode, without gradients.

    Arguments:
        process: The process.
        chain: The chain.
        batch: Two examples or more.
        exact: log p(x) of each example, [B] in nats, where it is known.
        seed: Seed of all draws.
        where: Name for messages.
    """
    every = list(range(batch.rows))
    together, alone = _log_weights(process, chain, batch, every, 5, seed), _log_weights(process, chain, batch, [1], 5, seed)
    expect_tensor(together, (batch.rows, 5), f"{where}, log w")
    expect_close(together[1:2], alone, f"{where}, log w of an example among others against that of the example alone")
    log_w = _log_weights(process, chain, batch, every, WALKS, seed + 1)
    if exact is not None:
        estimate, error, _ = _log_mean(log_w)
        _compare(estimate, exact.double(), error, f"{where}, log E[w]", "log p(x)")
    else:
        _check_by_draws(log_w, _ancestral(chain, batch, seed), where)
    if isinstance(process, RandomAccess):
        visited = torch.stack([_visited(process, chain, batch, k, seed) for k in range(1, chain.steps + 1)]).sum(0)
        expect_same_mean(visited, log_w.T, f"{where}.visit, log_ratio summed over k, against log w of walks")


def _check_by_draws(log_w: Tensor, found: tuple[Tensor, Tensor, Tensor] | None, where: str) -> None:
    """Holds log w, [B, walks], against log p(x) by draws of the chain, for the examples of which there are enough."""
    estimate, error, effective = _log_mean(log_w)
    target, other, behind = found or (estimate, error, torch.zeros_like(effective))
    known, by = behind >= EFFECTIVE, "log p(x) by draws of the chain"
    trusted = known & (effective >= EFFECTIVE)
    _compare(estimate[trusted], target[trusted], error.hypot(other)[trusted], f"{where}, log E[w]", by)
    bound, spread = log_w.double().mean(1), log_w.double().std(1) / math.sqrt(log_w.shape[1])
    _compare(bound.maximum(target)[known], target[known], spread.hypot(other)[known], f"{where}, E[log w] where above", by)
    if not known.any():
        warnings.warn(f"{where}: log w is not tested, too few draws of the chain come near the examples; give exact", stacklevel=4)


def _log_weights(process: ForwardProcess, chain: Chain, batch: Batch, index: list[int], walks: int, seed: int) -> Tensor:
    """log w of walks from some examples, each with random numbers of its own: [examples, walks]."""
    device = leaves(batch.origin)[0].device
    source = Rows([seeded(device, seed, i) for i in index], walks)
    walk = process.walk(chain, batch.chosen(index).repeat(walks), source=source, with_log_ratio=True)
    return total_log_ratio(walk).view(len(index), walks)


def _log_mean(log_w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """log E[w] over the last dimension, its standard error, and the effective number of draws behind it."""
    peak = log_w.amax(1, keepdim=True)
    weights = (log_w.double() - peak).exp()
    mean = weights.mean(1)
    error = weights.std(1) / mean / math.sqrt(log_w.shape[1])
    return mean.log() + peak.squeeze(1), error, weights.sum(1).square() / weights.square().sum(1)


def _compare(estimate: Tensor, target: Tensor, error: Tensor, where: str, what: str) -> None:
    distance = (estimate - target).abs() / (error + 1e-5)
    words = f"{what} = {[round(value, 4) for value in target.tolist()]} within {SIGMAS:g} standard errors"
    seen = f"{[round(value, 4) for value in estimate.tolist()]}, off by {[round(value, 1) for value in distance.tolist()]} of them"
    expect(bool((distance <= SIGMAS).all()), where, words, seen)


def _ancestral(chain: Chain, batch: Batch, seed: int) -> tuple[Tensor, Tensor, Tensor] | None:
    """log p(x) by draws of the chain, as :func:`_log_mean` gives it; None where p(x | s_1) is unknown or too narrow to be met."""
    origin = batch.origin
    if batch.condition is not None or not isinstance(origin, Tensor) or origin[0].numel() > LARGEST:
        return None
    near = chain.sample(DRAWS, source=seeded(origin.device, seed, "ancestral"), keep_path=True).path[-2]
    reverse = chain.operator(near, 1).at(chain.temperatures()[0])
    if not isinstance(reverse, Density):
        return None
    return _log_mean(torch.stack([reverse.log_prob(x.expand(DRAWS, *x.shape)) for x in origin]))


def _visited(process: Any, chain: Chain, batch: Batch, k: int, seed: int) -> Tensor:
    """The share of log w of step k, visited alone: [walks, B]."""
    source = seeded(leaves(batch.origin)[0].device, seed, "visits", k)
    share: Tensor = process.visit(chain, batch.repeat(WALKS), k, source=source, with_log_ratio=True).log_ratio
    return share.double().view(batch.rows, WALKS).T


def check_marginals(process: ForwardProcess, chain: Chain, batch: Batch, seed: int, where: str) -> None:
    """Checks the marginals and posteriors that a process states, the arguments as those of :func:`check_log_weights`."""
    if not isinstance(process, Marginals) or not isinstance(batch.origin, Tensor):
        return
    many = batch.repeat(WALKS)

    def by_draw(states: Tensor) -> Tensor:
        return states.unflatten(0, (batch.rows, WALKS)).transpose(0, 1)

    for transition in process.walk(chain, many, source=seeded(batch.origin.device, seed, "marginals")):
        k = int(transition.k)
        marginal = process.marginal(batch.origin, k)
        check_draws(marginal, by_draw(transition.state), f"{where}.marginal at k = {k}, against the states of walks")
    if isinstance(process, Posteriors) and chain.steps > 1:
        source, k = seeded(batch.origin.device, seed), chain.steps
        state = process.marginal(many.origin, k).sample(source)
        previous = process.posterior(state, many.origin, k).sample(source)
        place = f"{where}.posterior at k = {k}, averaged over s_k, against the marginal at {k - 1}"
        check_draws(process.marginal(batch.origin, k - 1), by_draw(previous), place)
