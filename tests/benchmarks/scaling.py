"""How the time of a training step grows with the length of the chain, the batch and the width, and that of estimates with the walks.

A slope of 1 is linear. Memory against the length of the chain is measured by ``memory.py``, in processes of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import attrs
import infusion
from measure import Row, alternate, slope
from training import made, stepping

from chainkit_estimators import Importance


@attrs.frozen(kw_only=True)
class Size:
    """What is measured.

    Arguments:
        net: Where the others stay while one grows.
        steps: Lengths of the chain.
        batches: Sizes of the batch.
        widths: Widths of both hidden layers.
        walks: Numbers of walks from each of ``examples``.
        examples: Examples of the estimates.
    """

    net: infusion.Size = infusion.FULL
    steps: Sequence[int] = (5, 15, 50, 150)
    batches: Sequence[int] = (16, 64, 256, 1024)
    widths: Sequence[int] = (150, 300, 600, 1200, 2400)
    walks: Sequence[int] = (30, 100, 300, 1000)
    examples: int = 4


FULL = Size()
TINY = Size(net=infusion.TINY, steps=(2, 3), batches=(4, 6), widths=(8, 12), walks=(2, 4), examples=2)


@attrs.frozen
class Series:
    """Milliseconds against one quantity.

    Arguments:
        quantity: What grows.
        places: Its values.
        milliseconds: Time of a step, or of an estimate.
    """

    quantity: str
    places: list[float]
    milliseconds: list[float]


def series(repeats: int, size: Size) -> Iterator[Series]:
    """All series, one after the other."""
    for quantity, places, place in (
        ("steps", size.steps, lambda value: attrs.evolve(size.net, steps=value)),
        ("batch", size.batches, lambda value: attrs.evolve(size.net, batch=value)),
        ("width", size.widths, lambda value: attrs.evolve(size.net, hidden=[value, value])),
    ):
        yield _grown(quantity, places, lambda value, place=place: stepping(made(infusion.recipe(place(value)))), repeats)
    yield _grown("walks", size.walks, lambda value: _estimating(size, value), repeats)


def _estimating(size: Size, walks: int) -> Callable[[], object]:
    run = made(infusion.recipe(size.net))
    examples = run.data.examples("train", size.examples)
    return lambda: Importance(walks=walks).estimate(run.chain, run.process, examples)


def _grown(quantity: str, places: Sequence[int], work_at: Callable[[int], Callable[[], object]], repeats: int) -> Series:
    milliseconds = []
    for place in places:
        milliseconds.append(1e3 * alternate({quantity: work_at(place)}, rounds=repeats, warm=1).median(quantity))
    return Series(quantity, [float(place) for place in places], milliseconds)


def rows(repeats: int, size: Size = FULL) -> Iterator[Row]:
    """The rows of this family: the exponent of the time, which is 1 where it is proportional.

    Arguments:
        repeats: Rounds of timing at each place.
        size: What is measured.
    """
    for found in series(repeats, size):
        details = {f"{found.quantity} = {place:g}, ms": value for place, value in zip(found.places, found.milliseconds, strict=True)}
        yield Row(name=f"time against {found.quantity}, exponent", measured=slope(found.places, found.milliseconds), unit="exponent",
                  details=details)  # fmt: skip
