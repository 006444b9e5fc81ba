"""Distances between many vectors, a bounded number of pairs at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from chainkit.interrupt import poll

PAIRS = 2**22
"""How many pairs are held at once: 32 MiB of float64."""


def squared_distances(left: Tensor, right: Tensor) -> Tensor:
    """|l_i - r_j|^2 of vectors [n, d] and [m, d]: [n, m]."""
    norms = left.square().sum(1)[:, None] + right.square().sum(1)
    return torch.addmm(norms, left, right.T, alpha=-2).clamp_(min=0)


def pairs(left: Tensor, right: Tensor) -> Iterator[Tensor]:
    """Squared distances of some rows of ``left`` after others to all of ``right``, [some, m]."""
    for rows in left.split(max(1, PAIRS // len(right))):
        poll()
        yield squared_distances(rows, right)


def nearest(left: Tensor, blocks: Iterable[Tensor], k: int = 1) -> tuple[Tensor, Tensor]:
    """The k nearest of many vectors.

    Arguments:
        left: Vectors, [n, d].
        blocks: The others, [m_1, d], [m_2, d], ..., at least k in all; counted through.
        k: How many.

    Returns:
        Their squared distances, ascending, and their numbers, [n, k] each.
    """
    distances = left.new_full((len(left), k), torch.inf)
    numbers = torch.zeros(len(left), k, dtype=torch.long, device=left.device)
    start = 0
    for block in blocks:
        own = torch.cat(list(pairs(left, block)))
        places = torch.arange(start, start + len(block), device=left.device).expand(len(left), -1)
        distances, order = torch.cat([distances, own], 1).topk(k, largest=False)
        numbers = torch.cat([numbers, places], 1).gather(1, order)
        start += len(block)
    return distances, numbers


def radii(vectors: Tensor, k: int) -> Tensor:
    """Squared distance of every vector, [n, d], to the k-th nearest other one: [n]."""
    return torch.cat([block.kthvalue(k + 1, dim=1).values for block in pairs(vectors, vectors)])
