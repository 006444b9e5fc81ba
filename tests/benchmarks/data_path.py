"""The data path: shuffled batches of MNIST per second, scaled to [0, 1] or dequantised as well."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import attrs
import infusion
import torch
from measure import Row, alternate
from training import made
from yardsticks.images import batches

from chainkit.data import Data
from chainkit.random import seeded


@attrs.frozen(kw_only=True)
class Size:
    """How large the benchmark is.

    Arguments:
        batch: Examples in a batch.
        calls: Batches in one turn.
        workers: Processes that decode for the user.
    """

    batch: int = 128
    calls: int = 40
    workers: int = 2


FULL = Size()
TINY = Size(batch=8, calls=2, workers=0)


def prepared(data: Data, rows: int) -> Callable[[], object]:
    """A function that prepares the next batch as a trainer does: order from the epoch, noise from the update."""

    def epochs() -> Iterator[object]:
        epoch = update = 0
        while True:
            order = torch.randperm(len(data.split("train")), generator=seeded("cpu", 0, "order", epoch))
            for index in order.split(rows)[: len(order) // rows]:
                yield data.batch("train", index, seeded("cpu", 0, "preparation", update))
                update += 1
            epoch += 1

    return epochs().__next__


def rows(repeats: int, size: Size = FULL) -> Iterator[Row]:
    """The rows of this family; the user may decode in this process or in others, and the faster counts.

    Arguments:
        repeats: Rounds of timing.
        size: How large the benchmark is.
    """
    yield attrs.evolve(_row(repeats, size, dequantize=False), at_least=50, aim=100)
    # Both draw the noise, and most of the time goes there: known, not aimed at.
    yield _row(repeats, size, dequantize=True)


def _row(repeats: int, size: Size, dequantize: bool) -> Row:
    data = made(infusion.recipe(infusion.TINY), [f"data.dequantize={str(dequantize).lower()}"]).data
    images = data.split("train").values.flatten(0, 1)
    # Workers decode ahead, also while it is somebody else's turn: they are measured last and alone.
    here = {"user": batches(images, size.batch, 0, dequantize).__next__, "chainkit": prepared(data, size.batch)}
    times = alternate(here, rounds=repeats, calls=size.calls)
    others = {"user with workers": batches(images, size.batch, size.workers, dequantize).__next__}
    medians = {name: found.median(name) for found in (times, alternate(others, rounds=repeats, calls=size.calls)) for name in found.seconds}
    fastest = min(medians["user"], medians["user with workers"])
    return Row(
        name=f"data path over a DataLoader of Pillow images, {'dequantised' if dequantize else 'scaled'} examples per second",
        measured=fastest / medians["chainkit"],
        unit="x",
        details={f"{name}, examples/s": size.batch / median for name, median in medians.items()},
    )
