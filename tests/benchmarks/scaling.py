"""How time and memory of a training step grow with the length of the chain, the batch and the width, and those of estimates with the walks.

A slope of 1 is linear. Every point is measured in a process of its own, whose peak of resident memory is read.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import attrs
import infusion
from measure import Row, alternate, forget_peak, peak_memory, slope
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
        apart: Whether every point has a process of its own; the memory of others counts otherwise.
    """

    net: infusion.Size = infusion.FULL
    steps: Sequence[int] = (5, 15, 50, 150)
    batches: Sequence[int] = (16, 64, 256, 1024)
    widths: Sequence[int] = (150, 300, 600, 1200, 2400)
    walks: Sequence[int] = (30, 100, 300, 1000)
    examples: int = 4
    apart: bool = True


FULL = Size()
TINY = Size(net=infusion.TINY, steps=(2, 3), batches=(4, 6), widths=(8, 12), walks=(2, 4), examples=2, apart=False)


@attrs.frozen
class Series:
    """Costs against one quantity.

    Arguments:
        quantity: What grows.
        places: Its values.
        milliseconds: Time of a step, or of an estimate.
        megabytes: Peak of resident memory meanwhile, with all that Python and torch take themselves.
    """

    quantity: str
    places: Sequence[int]
    milliseconds: list[float]
    megabytes: list[float]


def series(repeats: int, size: Size) -> Iterator[Series]:
    """All series, one after the other."""
    for quantity, places in (("steps", size.steps), ("batch", size.batches), ("width", size.widths), ("walks", size.walks)):
        found = [_apart(quantity, place, repeats) if size.apart else costs(quantity, place, repeats, size) for place in places]
        milliseconds, megabytes = zip(*found, strict=True)
        yield Series(quantity, places, list(milliseconds), list(megabytes))


def costs(quantity: str, place: int, repeats: int, size: Size = FULL) -> tuple[float, float]:
    """Milliseconds and megabytes at one place, here.

    Arguments:
        quantity: What grows.
        place: Its value.
        repeats: Rounds of timing.
        size: Where the others stay.
    """
    changes = {"steps": {"steps": place}, "batch": {"batch": place}, "width": {"hidden": [place, place]}}
    if quantity == "walks":
        work: Callable[[], object] = _estimating(size, place)
    else:
        work = stepping(made(infusion.recipe(attrs.evolve(size.net, **changes[quantity]))))
    work()
    forget_peak()
    return 1e3 * alternate({quantity: work}, rounds=repeats, warm=0).median(quantity), peak_memory()


def _apart(quantity: str, place: int, repeats: int) -> tuple[float, float]:
    text = f"import scaling; print(*scaling.costs({quantity!r}, {place}, {repeats}))"
    done = subprocess.run([sys.executable, "-c", text], cwd=Path(__file__).parent, check=True, capture_output=True, text=True)
    milliseconds, megabytes = map(float, done.stdout.split()[-2:])
    return milliseconds, megabytes


def _estimating(size: Size, walks: int) -> Callable[[], object]:
    run = made(infusion.recipe(size.net))
    examples = run.data.examples("train", size.examples)
    return lambda: Importance(walks=walks).estimate(run.chain, run.process, examples)


def rows(repeats: int, size: Size = FULL) -> Iterator[Row]:
    """The rows of this family: the exponent of the time, 1 where it is proportional, and the memory that is added from first to last.

    Arguments:
        repeats: Rounds of timing at each place.
        size: What is measured.
    """
    for found in series(repeats, size):
        for unit, values in (("ms", found.milliseconds), ("MB", found.megabytes)):
            details = {f"{found.quantity} = {place}, {unit}": value for place, value in zip(found.places, values, strict=True)}
            name, measured = f"time against {found.quantity}, exponent", slope(list(map(float, found.places)), values)
            if unit == "MB":
                name, measured = f"memory against {found.quantity}, {found.places[0]} to {found.places[-1]}", values[-1] - values[0]
            yield Row(name=name, measured=measured, unit="exponent" if unit == "ms" else unit, details=details)
