"""Importance sampling: 1000 walks from each of 100 examples, over loops that walk one row, or one row per example, at a time.

What is timed is a part of each, and what is compared is the time per walk: one walk at a time, all
100 000 would take most of an hour.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import attrs
import infusion
import torch
from measure import Row, alternate
from training import made
from yardsticks.importance import log_weights
from yardsticks.infusion import UserLoop

from chainkit.run import Run
from chainkit_estimators import Importance


@attrs.frozen(kw_only=True)
class Size:
    """How large the benchmark is.

    Arguments:
        net: Size of the chain.
        examples: Examples that a user's loop walks from together.
        walks: Walks from each.
        timed: Examples that chainkit is timed on.
        singles: Single walks that are timed.
        loops: Turns of the loop over all examples that are timed.
    """

    net: infusion.Size = infusion.FULL
    examples: int = 100
    walks: int = 1000
    timed: int = 16
    singles: int = 20
    loops: int = 5


FULL = Size()
TINY = Size(net=infusion.TINY, examples=4, walks=6, timed=2, singles=2, loops=2)


def estimating(run: Run, size: Size) -> Callable[[], object]:
    """The estimate of chainkit, on some of the examples."""
    examples = run.data.examples("train", size.timed)
    estimator = Importance(walks=size.walks)
    return lambda: estimator.estimate(run.chain, run.process, examples)


def rows(repeats: int, size: Size = FULL) -> Iterator[Row]:
    """The rows of this family.

    Arguments:
        repeats: Rounds of timing.
        size: How large the benchmark is.
    """
    run = made(infusion.recipe(size.net))
    run.model.eval()
    loop = UserLoop(infusion.copied(run).eval(), **infusion.loop_arguments(run))
    x = infusion.dequantised(run, size.examples)()
    one = x[:1]

    def single() -> None:
        for _ in range(size.singles):
            log_weights(loop, one)

    def each() -> torch.Tensor:
        return torch.stack([log_weights(loop, x) for _ in range(size.loops)])

    times = alternate({"one at a time": single, "one per example": each, "chainkit": estimating(run, size)}, rounds=repeats, warm=1)
    walks = {"one at a time": size.singles, "one per example": size.examples * size.loops, "chainkit": size.timed * size.walks}
    details = {f"{name}, ms per walk": 1e3 * times.median(name) / count for name, count in walks.items()}
    for name, words, at_least, aim in (
        ("one at a time", "one walk at a time", 12.0, 14.0),
        ("one per example", "a loop with one walk per example", 1.2, 1.28),
    ):
        ratio = times.ratio(name, "chainkit") * walks["chainkit"] / walks[name]
        yield Row(name=f"importance sampling over {words}", measured=ratio, unit="x", at_least=at_least, aim=aim, details=details)
