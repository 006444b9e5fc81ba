"""A small chain, where Python and the calls of small kernels are all the cost: two dimensions, 64 hidden units, T = 30."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from infusion import Size, copied, loop_arguments, recipe
from measure import Row, alternate
from torch import Tensor
from training import made, stepping
from yardsticks.infusion import UserLoop
from yardsticks.infusion_bare import BareLoop

from chainkit.run import Run

FULL = Size(batch=128, hidden=(64,), steps=30)
TINY = Size(batch=8, hidden=(4,), steps=3)
PLANE = '[data]\ntype = "swiss-roll"\nnoise = 0.1\nn = 10000\n'


def plane_recipe(size: Size = FULL) -> str:
    """The recipe of the benchmark: infusion training on the swiss roll."""
    return recipe(size, PLANE, mean="linear", variance_scale=1.0)


def points(run: Run, rows: int) -> Callable[[], Tensor]:
    """A user's batches."""
    values = run.data.split("train").values.to(run.data.dtype)
    return lambda: values[torch.randint(len(values), (rows,))]


def rows(repeats: int, size: Size = FULL) -> Iterator[Row]:
    """The rows of this family.

    Arguments:
        repeats: Rounds of timing.
        size: How large the benchmark is.
    """
    run, ungraphed = made(plane_recipe(size)), made(plane_recipe(size), ["train.graph=false"])
    net, batch = copied(run), points(run, size.batch)
    user = UserLoop(net, **loop_arguments(run))
    bare = BareLoop(net, **loop_arguments(run), rows=size.batch)
    works = {"user": lambda: user.update(batch()), "bare": lambda: bare.update(batch())}
    works |= {"chainkit": stepping(run), "chainkit without a graph": stepping(ungraphed)}
    times = alternate(works, rounds=repeats, calls=10, warm=10)
    details = times.milliseconds()
    # Of the bare loop's time, the aim is 1 %, as for large networks.
    for name, words, goals, above in (
        ("chainkit", "step", {"at_least": 1.75, "aim": 3.0}, {"at_least": 0.1, "aim": 0.01 * 1e3 * times.median("bare")}),
        ("chainkit without a graph", "step without a graph", {}, {}),
    ):
        yield Row(name=f"small chain, {words} over the user's loop", measured=times.ratio("user", name), unit="x", details=details, **goals)
        difference = 1e3 * times.difference(name, "bare")
        yield Row(
            name=f"small chain, {words} above a bare loop of the same algorithm", measured=difference, unit="ms", details=details, **above
        )
