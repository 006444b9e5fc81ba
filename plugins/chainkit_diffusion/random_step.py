"""One step of a walk, drawn uniformly from all K."""

from __future__ import annotations

from chainkit import Batch, Chain, ForwardProcess, Transition
from chainkit.capabilities import RandomAccess
from chainkit.random import Source, common, integers


def random_step(chain: Chain, process: ForwardProcess, batch: Batch, source: Source, *, shared: bool = False) -> Transition:
    """Visits a random step of a fresh walk, one network evaluation in all.

    Arguments:
        chain: The generative chain.
        process: The forward process.
        batch: The examples, x a tensor.
        source: Where the random numbers come from.
        shared: Whether all examples share the step; otherwise each has its own.

    Raises:
        TypeError: The steps of the process cannot be visited alone.
    """
    if not isinstance(process, RandomAccess):
        raise TypeError(f"one random step needs a process whose steps can be visited alone, not {type(process).__name__}")
    rows, origin = (1, common(source)) if shared else (len(batch), source)
    k = integers(1, chain.steps, rows, batch.origin.device, origin)
    return process.visit(chain, batch, int(k) if shared else k, source=source)
