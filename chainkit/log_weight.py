r"""log w, the number that all likelihood estimators share.

.. math:: \log w = \log p(x, s_1..s_K) - \log q(s_1..s_K | x)

The mean of log w over walks is the variational lower bound (walkback paper, eq. 8; infusion paper,
eq. 3.3.3); ``logsumexp(log w) - log n`` the importance-sampling estimate (walkback paper, eq. 10;
infusion paper, eq. 3.3.2 and note 4).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor

from chainkit.chain import Chain
from chainkit.data import Examples
from chainkit.interrupt import poll
from chainkit.modes import evaluating
from chainkit.process import ForwardProcess
from chainkit.transition import Transition, total_log_ratio

WALKS_PER_BLOCK = 250

Reduction: TypeAlias = Callable[[Iterable[Transition]], Tensor]
"""From the transitions of one walk per row to one or more numbers per row, [B, ...]."""


def log_weights(chain: Chain, process: ForwardProcess, examples: Examples, walks: int, *, max_rows: int = 4000) -> Tensor:
    """log w of several walks from each example, in evaluation mode.

    Arguments:
        chain: The generative chain.
        process: The forward process.
        examples: The data points x.
        walks: Number of walks from each, at least 1.
        max_rows: About how many walks to hold in memory at once.

    Returns:
        A float64 tensor [examples, walks] on the CPU, in nats.
    """
    return over_walks(total_log_ratio, chain, process, examples, walks, max_rows=max_rows)


@torch.no_grad()
def over_walks(
    reduction: Reduction, chain: Chain, process: ForwardProcess, examples: Examples, walks: int, *, max_rows: int = 4000
) -> Tensor:
    """What a reduction makes of several walks from each example, in evaluation mode.

    Walks come in blocks of at most 250 per example, each block with random numbers of its own, so
    that the figures do not depend on how many rows are walked at once. Blocks are kept in the
    examples' journal, by which several processes share them out.

    Arguments:
        reduction: What is wanted of a walk.
        chain: The generative chain.
        process: The forward process.
        examples: The data points x.
        walks: Number of walks from each, at least 1.
        max_rows: About how many walks to hold in memory at once.

    Returns:
        A tensor [examples, walks, ...] on the CPU.
    """
    block = min(walks, WALKS_PER_BLOCK)
    places = [range(start, min(start + block, walks)) for start in range(0, walks, block)]
    parts = examples.index.split(max(1, max_rows // block))
    with evaluating(chain, process):
        walked = partial(_block, reduction, chain, process, examples)
        pieces = [partial(walked, index, place) for index in parts for place in places]
        found = list(examples.journal.keep_each(pieces))
    rows = [torch.cat(found[first : first + len(places)], 1) for first in range(0, len(found), len(places))]
    return torch.cat(rows)


def _block(reduction: Reduction, chain: Chain, process: ForwardProcess, examples: Examples, index: Tensor, places: range) -> Tensor:
    poll()
    batch = examples.batch(index)
    source = examples.source(index, "walks", places.start, rows=len(places))
    reduced = reduction(process.walk(chain, batch.repeat(len(places)), source=source, with_log_ratio=True))
    return reduced.unflatten(0, (len(batch), len(places))).cpu()
