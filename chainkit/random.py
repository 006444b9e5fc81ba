"""Where random numbers come from.

Nothing in chainkit draws from torch's global generator. Every draw takes a *source*:

- a ``torch.Generator`` made by :func:`seeded` from the seed and the place in the run, so that a
  resumed run draws what an uninterrupted one would have drawn;
- :class:`Rows`, one generator for every block of rows, for figures about single examples: what is
  drawn for one example does not depend on which others share its batch;
- :class:`Share`, the generator of a batch whose rows several processes share out: each draws the
  numbers of the whole batch and keeps its own, so that nothing depends on how many there are;
- ``None``, torch's global generator, for use at the prompt.

Operators and distributions draw through :func:`normal`, :func:`uniform` and :func:`chance`, which
take all of them.
What the rows of a batch have in common, such as one step for all, is drawn from :func:`common`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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


class Share:
    """Some rows of a batch whose random numbers come from one generator.

    Draws for m times as many rows are those of m rows in the place of each, side by side, as
    ``Batch.repeat`` puts them.

    Arguments:
        generator: The generator of the whole batch, on the device of the draws.
        part: Which rows of the batch are here, at least one.
        rows: Rows of the whole batch.
    """

    def __init__(self, generator: torch.Generator, part: range, rows: int) -> None:
        self.generator = generator
        self.part = part
        self.rows = rows

    def __len__(self) -> int:
        return len(self.part)


Fill: TypeAlias = Callable[[Tensor, torch.Generator | None], object]
Source: TypeAlias = Union[torch.Generator, Rows, Share, None]


BITS = 2**16
"""Of a probability that is a multiple of 1 / BITS, draws are cheap."""


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


@contextmanager
def global_seed(*key: int | str) -> Iterator[None]:
    """Within it torch's own generator depends on the key alone, since layers draw their initial weights from it; then it is as it was.

    Arguments:
        key: As for :func:`seeded`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(*key))
        yield


def common(source: Source) -> torch.Generator | None:
    """Where to draw what all rows of a batch have in common: the same for all, in every process.

    Arguments:
        source: The source of the batch.

    Raises:
        ValueError: Every row has a source of its own, so that nothing is common to them.
    """
    if isinstance(source, Rows):
        raise ValueError("rows with random numbers of their own have no draw in common")
    return source.generator if isinstance(source, Share) else source


def _fill(fill: Fill, out: Tensor, source: Source) -> Tensor:
    if isinstance(source, Share):
        return _fill_share(fill, out, source)
    if not isinstance(source, Rows):
        fill(out, source)
        return out
    if len(out) != len(source):
        raise ValueError(f"a source for {len(source)} rows cannot fill {len(out)} rows")
    for block, generator in zip(out.split(source.rows), source.generators, strict=True):
        fill(block, generator)
    return out


def _fill_share(fill: Fill, out: Tensor, source: Share) -> Tensor:
    times, odd = divmod(len(out), len(source))
    if odd:
        raise ValueError(f"a source for {len(source)} rows cannot fill {len(out)} rows")
    whole = out.new_empty(source.rows * times, *out.shape[1:])
    fill(whole, source.generator)
    return out.copy_(whole[source.part.start * times : source.part.stop * times])


def normal(like: Tensor, source: Source = None) -> Tensor:
    """Standard normal draws of the shape, dtype and device of ``like``, rows first."""
    return _fill(lambda out, generator: out.normal_(generator=generator), _empty(like), source)


def uniform(like: Tensor, source: Source = None) -> Tensor:
    """Uniform draws on [0, 1) of the shape, dtype and device of ``like``, rows first."""
    return _fill(lambda out, generator: out.uniform_(generator=generator), _empty(like), source)


def chance(like: Tensor, probability: float, source: Source = None) -> Tensor:
    """Draws that are true with one probability, a bool of the shape and device of ``like``, rows first.

    On a CPU, which makes random numbers one after the other, a multiple of 2^-16 takes 16 bits for
    each draw, a third of the time of a uniform number.

    Arguments:
        like: A state of the wanted shape.
        probability: p, in [0, 1].
        source: Where the random numbers come from.
    """
    level = probability * BITS
    if like.device.type != "cpu" or level % 1 or level == BITS:
        return uniform(like, source) < probability

    def draw(out: Tensor, generator: torch.Generator | None) -> None:
        words = torch.empty(-(-out.numel() // 4), dtype=torch.int64).random_(-(2**63), None, generator=generator)
        torch.lt(words.view(torch.int16)[: out.numel()].view(out.shape), int(level) - BITS // 2, out=out)

    return _fill(draw, _empty(like, torch.bool), source)


def _empty(like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    return torch.empty_like(like, dtype=dtype, requires_grad=False, memory_format=torch.contiguous_format)


def integers(low: int, high: int, rows: int, device: torch.device | str, source: Source = None) -> Tensor:
    """``rows`` integers, uniform on low..high inclusive, as a LongTensor [rows]."""
    scale = uniform(torch.empty(rows, dtype=torch.float64, device=device), source)
    return (low + scale * (high - low + 1)).long().clamp_(max=high)
