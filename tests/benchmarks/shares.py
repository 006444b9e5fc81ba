"""Where the time of a training step goes: by kind of operation, with chainkit's own work before and after its steps were taken together.

Measured by torch's profiler, which slows what it watches: shares tell, not sums.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import infusion
from measure import Row
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile
from training import made, stepping
from yardsticks.infusion import UserLoop

FULL, TINY = infusion.FULL, infusion.TINY
CALLS = 3
"""Steps under the profiler in one round."""

KINDS = {
    "matrix products": ("mm", "addmm", "bmm", "baddbmm"),
    "normalisation": ("native_batch_norm", "native_batch_norm_backward"),
    "random numbers": ("normal_", "random_", "uniform_", "bernoulli_", "bernoulli"),
    "copies": ("copy_", "cat", "stack", "clone", "index", "index_put_", "_index_put_impl_", "fill_", "zero_"),
}
OPTIMISER, ELEMENTWISE = "optimiser", "arithmetic by element"


def kind(event: FunctionEvent) -> str:
    """The kind of an operation; all that an optimiser does is its own."""
    above = event
    while above is not None:
        if above.name.startswith("Optimizer."):
            return OPTIMISER
        above = above.cpu_parent
    name = event.name.removeprefix("aten::")
    return next((found for found, names in KINDS.items() if name in names), ELEMENTWISE)


def milliseconds(work: Callable[[], object], calls: int) -> dict[str, float]:
    """Time of a call by kind of operation.

    Arguments:
        work: What to call.
        calls: How often.
    """
    work()
    with profile(activities=[ProfilerActivity.CPU]) as found:
        for _ in range(calls):
            work()
    spent = dict.fromkeys((*KINDS, OPTIMISER, ELEMENTWISE), 0.0)
    for event in found.events():
        spent[kind(event)] += event.self_cpu_time_total / 1e3 / calls
    return spent


def rows(repeats: int, size: infusion.Size = FULL) -> Iterator[Row]:
    """The rows of this family: the share of each kind in the user's loop, in chainkit step by step, and in its steps together.

    Arguments:
        repeats: Rounds, each of a few steps.
        size: How large the benchmark is.
    """
    together, single = made(infusion.recipe(size)), made(infusion.recipe(size))
    single.trainer.progress.stacked = False
    user, batch = UserLoop(infusion.copied(together), **infusion.loop_arguments(together)), infusion.dequantised(together, size.batch)
    works = {"user": lambda: user.update(batch()), "one at a time": stepping(single), "together": stepping(together)}
    found = {name: milliseconds(work, repeats * CALLS) for name, work in works.items()}
    for part in found["user"]:
        shares = {f"{name}, %": 100 * spent[part] / sum(spent.values()) for name, spent in found.items()}
        times = {f"{name}, ms": spent[part] for name, spent in found.items()}
        yield Row(name=part, measured=shares["together, %"], unit="%", details=shares | times)
