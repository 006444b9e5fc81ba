r"""What the estimators share: log w, standard errors, and how a figure is labelled.

With m walks from each of n examples, the mean of the per-example values ``a_i`` has the variance

.. math:: \mathrm{Var}(\bar a) = \underbrace{\mathrm{Var}_x[E(a | x)] / n}_{\text{examples}}
    + \underbrace{\textstyle\sum_i e_i^2 / n^2}_{\text{walks}}

where ``e_i`` is the standard error of ``a_i`` from its finite number of walks. The sample variance
of the ``a_i`` holds both parts, so that the first is what the second leaves over.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import attrs
import torch
from torch import Tensor

from chainkit import Chain, ForwardProcess
from chainkit.curve import Point
from chainkit.data import Data, Examples
from chainkit.errors import NonFiniteError
from chainkit.log_weight import Reduction, over_walks
from chainkit.transition import total_log_ratio

HELD = 2**24
"""How many log weights are held at once: 128 MiB of float64."""


def walked(
    name: str,
    chain: Chain,
    process: ForwardProcess,
    examples: Examples,
    walks: int,
    max_rows: int,
    *,
    reduction: Reduction = total_log_ratio,
    numbers: int = 1,
) -> Iterator[Tensor]:
    """What is wanted of all walks from some examples after others, float64 [some, walks, ...] on the CPU, in nats.

    Arguments:
        name: The estimator, for messages.
        chain: The generative chain.
        process: The forward process.
        examples: The data points.
        walks: Number of walks from each.
        max_rows: About how many walks to hold in memory at once.
        reduction: What is wanted of a walk: log w, or shares of it.
        numbers: How many numbers that is.

    Raises:
        NonFiniteError: A log w is not a number, or plus infinity.
    """
    device = torch.device(examples.device).type
    for index in examples.index.split(max(1, HELD // (walks * numbers))):
        part = attrs.evolve(examples, index=index)
        with torch.autocast(device, enabled=False):
            found = over_walks(reduction, chain, process, part, walks, max_rows=max_rows)
        broken = index[(found.isnan() | found.isposinf()).flatten(1).any(1)]
        if len(broken):
            first = f"{examples.split}[{broken[0]}]"
            raise NonFiniteError(f"{name}: log w is not a finite number for {len(broken)} of {len(index)} examples, the first is {first}")
        yield found


def standard_errors(values: Tensor, within: Tensor | None = None) -> tuple[float | None, float | None]:
    """Standard errors of the mean of per-example values: from the examples, and from the walks.

    Arguments:
        values: One value per example, [n].
        within: Squared standard error of each value from its walks, [n]; None if it is unknown or
            there are none, and then the first error holds it.

    Returns:
        Both errors; their squares add up to the squared error of the mean. The first is None for a
        single example, and where the walks alone vary by more than the examples do; the second where
        ``within`` is.
    """
    n = len(values)
    walks = None if within is None else within.sum().item() / n**2
    if n == 1:
        return None, None if walks is None else math.sqrt(walks)
    total = values.var().item() / n
    if walks is None:
        return math.sqrt(total), None
    return math.sqrt(total - walks) if total > walks else None, math.sqrt(walks)


def jackknife_error(left_out: Sequence[float]) -> float:
    r"""Standard error of a figure by the delete-a-group jackknife.

    .. math:: \hat e^2 = \frac{G - 1}{G} \sum_g (\theta_{-g} - \bar\theta_{-\cdot})^2

    Arguments:
        left_out: theta_{-g}, the figure with each of G groups of about equal size left out.
    """
    values = torch.tensor(left_out, dtype=torch.float64)
    return ((len(values) - 1) * values.var(correction=0)).sqrt().item()


def points(places: Iterable[float], values: Tensor, errors: Tensor | None = None) -> tuple[Point, ...]:
    """The points of a curve.

    Arguments:
        places: Where they are.
        values: The figure at each, [n].
        errors: Its standard error at each, [n]; one that is not a number stands for none.
    """
    found = [None] * len(values) if errors is None else [error if error == error else None for error in errors.tolist()]
    return tuple(zip(map(float, places), values.tolist(), found, strict=True))


def law(data: Data) -> str:
    """What a chain models of an example, in words: given its label where labels condition the chain."""
    if data.classes is not None:
        return "log p(x | class)"
    return "log p(x)" if data.conditions(1) is None else "log p(x | condition)"


def labels(examples: Examples) -> dict[str, Any]:
    """The fields of an estimate that say what it was computed on."""
    data = examples.data
    return {
        "examples": len(examples),
        "split": examples.split,
        "preparation": data.preparation.words,
        "dim": math.prod(data.shape),
        "bin_width": data.preparation.bin_width,
        "seed": examples.seed,
    }
