"""Variational Walkback on MNIST: 4096 tanh units, K = 8, updates once per walk and once per step (Algorithm 1)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import attrs
import torch
from measure import Row, alternate
from torch import Tensor
from training import digits, examples, made, stepping
from yardsticks.walkback import Operator, UserLoop

from chainkit.run import Run


@attrs.frozen(kw_only=True)
class Size:
    """How large the benchmark is.

    Arguments:
        batch: Examples in a batch.
        hidden: Width of the hidden layer.
        steps: K.
    """

    batch: int = 128
    hidden: int = 4096
    steps: int = 8


FULL = Size()
TINY = Size(batch=4, hidden=16, steps=3)

CHAIN = """
[chain]
steps = {size.steps}
extend = "noise-end"
temperature = {{ type = "geometric", ratio = 1.4142135623730951 }}
prior = {{ type = "bernoulli", rate = 0.5 }}

[chain.operator]
type = "walkback-bernoulli"
alpha = 0.5
network = {{ type = "mlp", hidden = [{size.hidden}], activation = "tanh" }}

[process]
type = "heated"

[objective]
type = "walkback"

[train]
batch_size = {size.batch}
update = "{update}"
optimizer = {{ type = "adam", lr = 1e-4 }}
"""


def recipe(size: Size, update: str) -> str:
    """The recipe of the benchmark.

    Arguments:
        size: How large it is.
        update: ``walk`` or ``step``.
    """
    return digits(binarize=True) + CHAIN.format(size=size, update=update)


@torch.no_grad()
def copied(run: Run) -> Operator:
    """The user's operator with the weights of a run's."""
    first, last = run.chain.operator.network.first.affine, run.chain.operator.network.readout.linear
    operator = Operator(first.in_features, first.out_features, run.chain.operator.alpha).to(first.weight.dtype)
    for own, other in zip((operator.net[0], operator.net[2]), (first, last), strict=True):
        own.weight.copy_(other.weight)
        own.bias.copy_(other.bias)
    return operator


def binarised(run: Run, rows: int) -> Callable[[], Tensor]:
    """A user's batches: a pixel is 1 with the probability that is its value."""
    raw = examples(run, rows)
    return lambda: torch.bernoulli(raw().float() / 255)


def rows(repeats: int, size: Size = FULL) -> Iterator[Row]:
    """The rows of this family.

    Arguments:
        repeats: Rounds of timing.
        size: How large the benchmark is.
    """
    yield from _rows(repeats, size, "walk", "one update per walk", ((1.3, 1.5), (2.2, 2.9)))
    yield from _rows(repeats, size, "step", "one update per step", ((1.4, 1.5), (2.4, 2.7)))


def _rows(repeats: int, size: Size, update: str, words: str, goals: tuple[tuple[float, float], tuple[float, float]]) -> Iterator[Row]:
    run, narrow = made(recipe(size, update)), made(recipe(size, update), ['train.precision="bfloat16"'])
    user, batch = UserLoop(copied(run), run.chain.temperatures()), binarised(run, size.batch)
    trained = user.update if update == "walk" else user.update_per_step
    works = {"user": lambda: trained(batch()), "chainkit": stepping(run), "chainkit bfloat16": stepping(narrow)}
    times = alternate(works, rounds=repeats)
    details = times.milliseconds()
    for name, words_of_type, (at_least, aim) in zip(("chainkit", "chainkit bfloat16"), ("float32", "bfloat16"), goals, strict=True):
        yield Row(
            name=f"walkback MNIST, {words}, {words_of_type}, over the user's loop in float32",
            measured=times.ratio("user", name),
            unit="x",
            at_least=at_least,
            aim=aim,
            details=details,
        )
