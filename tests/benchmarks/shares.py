"""Where the time goes, by kind of operation: of training steps, before and after their steps were taken together, and of sampling.

Measured by torch's profiler, which slows what it watches: shares tell, not sums.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import attrs
import infusion
import sampling
import walkback
from measure import Row
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile
from training import made, stepping
from yardsticks.infusion import UserLoop
from yardsticks.infusion_bare import BareLoop


@attrs.frozen(kw_only=True)
class Size:
    """How large the benchmark is.

    Arguments:
        infusion: Size of the infusion chain.
        walkback: Size of the walkback chain.
        samples: Samples.
        steps: Steps of sampling.
    """

    infusion: infusion.Size = infusion.FULL
    walkback: walkback.Size = walkback.FULL
    samples: int = 256
    steps: int = 30


FULL = Size()
TINY = Size(infusion=infusion.TINY, walkback=walkback.TINY, samples=4, steps=4)
NARROW = ['train.precision="bfloat16"']
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


def contenders(size: Size) -> dict[str, Callable[[], object]]:
    """What is watched, by name.

    Arguments:
        size: How large it is.
    """
    recipe = infusion.recipe(size.infusion)
    together, single = made(recipe), made(recipe, ["train.graph=false"])
    single.trainer.progress.stacked = False
    net, batch = infusion.copied(together), infusion.dequantised(together, size.infusion.batch)
    user = UserLoop(net, **infusion.loop_arguments(together))
    bare = BareLoop(net, **infusion.loop_arguments(together), rows=size.infusion.batch)
    return {
        "user": lambda: user.update(batch()),
        "bare": lambda: bare.update(batch()),
        "one at a time": stepping(single),
        "together": stepping(together),
        "bfloat16": stepping(made(recipe, NARROW)),
        "step": stepping(made(walkback.recipe(size.walkback, "step"), NARROW)),
        "sampling": sampling.drawing(together, size.samples, size.steps, False),
        "sampling bfloat16": sampling.drawing(together, size.samples, size.steps, True),
    }


def rows(repeats: int, size: Size = FULL) -> Iterator[Row]:
    """The rows of this family: the share of each kind in every contender.

    Arguments:
        repeats: Rounds, each of a few steps.
        size: How large the benchmark is.
    """
    found = {name: milliseconds(work, repeats * CALLS) for name, work in contenders(size).items()}
    for part in found["user"]:
        shares = {f"{name}, %": 100 * spent[part] / sum(spent.values()) for name, spent in found.items()}
        times = {f"{name}, ms": spent[part] for name, spent in found.items()}
        yield Row(name=part, measured=shares["together, %"], unit="%", details=shares | times)
