"""Memory that is given back and asked for again, update by update."""

from __future__ import annotations

import torch

LARGEST = 2**25
"""Largest block of memory whose release glibc learns from, with its own bookkeeping, in bytes."""


def keep_freed_memory() -> None:
    """Has the C library keep up to 64 MB of what a process frees on a CPU, for what it asks for next.

    Otherwise the gradients and states of an update, a few tens of MB, go back to the system and come
    again as pages that the system fills with zeros first: up to some 10000 in every update of a network
    with a few million weights, a few per cent of its time. glibc keeps twice as much as the largest block
    that it has seen freed, up to one of 32 MB. Such a block is asked for here, never written to, and
    freed. Other C libraries keep what they keep.
    """
    torch.empty(LARGEST - 2**13, dtype=torch.uint8)
