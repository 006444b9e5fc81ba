r"""log w, the number that all likelihood estimators share.

.. math:: \log w = \log p(x, s_1..s_K) - \log q(s_1..s_K | x)

The mean of log w over walks is the variational lower bound (walkback paper, eq. 8; infusion paper,
eq. 3.3.3); ``logsumexp(log w) - log n`` the importance-sampling estimate (walkback paper, eq. 10;
infusion paper, eq. 3.3.2 and note 4).
"""

from __future__ import annotations

import torch
from torch import Tensor

from chainkit.chain import Chain
from chainkit.data import Examples
from chainkit.interrupt import poll
from chainkit.modes import evaluating
from chainkit.process import ForwardProcess
from chainkit.transition import total_log_ratio

WALKS_PER_BLOCK = 250


@torch.no_grad()
def log_weights(chain: Chain, process: ForwardProcess, examples: Examples, walks: int, *, max_rows: int = 4000) -> Tensor:
    """log w of several walks from each example, in evaluation mode.

    Walks come in blocks of at most 250 per example, each block with random numbers of its own, so
    that the figures do not depend on how many rows are walked at once.

    Arguments:
        chain: The generative chain.
        process: The forward process.
        examples: The data points x.
        walks: Number of walks from each, at least 1.
        max_rows: About how many walks to hold in memory at once.

    Returns:
        A float64 tensor [examples, walks] on the CPU, in nats.
    """
    block = min(walks, WALKS_PER_BLOCK)
    found = []
    with evaluating(chain, process):
        for batch in examples.batches(max(1, max_rows // block)):
            assert batch.index is not None
            blocks = []
            for start in range(0, walks, block):
                poll()
                count = min(block, walks - start)
                source = examples.source(batch.index, "walks", start, rows=count)
                walk = process.walk(chain, batch.repeat(count), source=source, with_log_ratio=True)
                blocks.append(total_log_ratio(walk).view(len(batch), count))
            found.append(torch.cat(blocks, 1).cpu())
    return torch.cat(found)
