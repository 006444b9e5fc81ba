"""Where random numbers come from.

Nothing in chainkit draws from torch's global generator. Every draw takes a *source*:

- a ``torch.Generator`` made by :func:`seeded` from the seed and the place in the run, so that a
  resumed run draws what an uninterrupted one would have drawn;
- :class:`Rows`, one generator for every block of rows, for figures about single examples: what is
  drawn for one example does not depend on which others share its batch;
- ``None``, torch's global generator, for use at the prompt.

Operators and distributions draw through :func:`normal` and :func:`uniform`, which take all three.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeAlias, Union

import torch
from torch import Tensor


class Rows:
    """One generator per block of consecutive rows.

    Arguments:
        generators: One generator for each block, on the device of the draws.
        rows: Number of rows of each block, at least 1.
    """

    def __init__(self, generators: Sequence[torch.Generator], rows: int = 1) -> None:
        self.generators = generators
        self.rows = rows

    def __len__(self) -> int:
        return len(self.generators) * self.rows


Source: TypeAlias = Union[torch.Generator, Rows, None]


def seed_of(*key: int | str) -> int:
    """A 63-bit seed from a key such as (seed, "update", 17); different keys give unrelated seeds."""
    digest = hashlib.blake2b("\x1f".join(map(str, key)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def seeded(device: torch.device | str, *key: int | str) -> torch.Generator:
    """A generator on ``device`` that depends on the key alone.

    Arguments:
        device: Device of the draws.
        key: Seed first, then the place in the run, for example ``(seed, "update", 17)``.
    """
    return torch.Generator(device=device).manual_seed(seed_of(*key))


def _fill(method: str, out: Tensor, source: Source) -> Tensor:
    if not isinstance(source, Rows):
        return getattr(out, method)(generator=source)
    if len(out) != len(source):
        raise ValueError(f"a source for {len(source)} rows cannot fill {len(out)} rows")
    for block, generator in zip(out.split(source.rows), source.generators, strict=True):
        getattr(block, method)(generator=generator)
    return out


def normal(like: Tensor, source: Source = None) -> Tensor:
    """Standard normal draws of the shape, dtype and device of ``like``, rows first."""
    return _fill("normal_", torch.empty_like(like, requires_grad=False, memory_format=torch.contiguous_format), source)


def uniform(like: Tensor, source: Source = None) -> Tensor:
    """Uniform draws on [0, 1) of the shape, dtype and device of ``like``, rows first."""
    return _fill("uniform_", torch.empty_like(like, requires_grad=False, memory_format=torch.contiguous_format), source)


def integers(low: int, high: int, rows: int, device: torch.device | str, source: Source = None) -> Tensor:
    """``rows`` integers, uniform on low..high inclusive, as a LongTensor [rows]."""
    scale = uniform(torch.empty(rows, dtype=torch.float64, device=device), source)
    return (low + scale * (high - low + 1)).long().clamp_(max=high)
