r"""The factorial baseline: what a model without any dependency between elements reaches.

.. math:: p(x) = \prod_i N(x_i; m_i, \max(v_i, f)) \quad \text{or} \quad
    \prod_i \mathrm{Bernoulli}\left(x_i; \min(\max(m_i, f), 1 - f)\right)

with the moments m, v of the training data (infusion paper, eq. 3.3.1). Elements that hardly vary in
the training split would have a density without bound there; the floor f is therefore the one of a
fixed grid with which other data, the validation split or a held-out tenth of the training split,
is the most likely.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import attrs
import torch
from torch import Tensor

from chainkit import Chain, Context, Data, Estimate, Estimator, ForwardProcess
from chainkit.capabilities import BinaryStates
from chainkit.data import Examples
from chainkit.distributions import Bernoulli, Gaussian
from chainkit.interrupt import poll
from chainkit.random import seeded
from chainkit_estimators.configs import FactorialConfig
from chainkit_estimators.figures import labels, standard_errors

GRID = tuple(10 ** (-exponent / 2) for exponent in range(14, 1, -1))
"""Floors to choose from, 1e-7 to 1e-1 by half decades: of a variance relative to the mean variance
of all elements, or of a rate."""


@attrs.frozen(kw_only=True)
class Moments:
    """First two moments of every element, float64.

    Arguments:
        mean: [*event], in model units.
        variance: [*event], in squared model units.
    """

    mean: Tensor
    variance: Tensor


@attrs.frozen(kw_only=True)
class FactorialModel:
    """The factorial model of some data; called with a number of rows, it gives their distribution.

    Arguments:
        moments: Moments of the training data.
        floor: f, in (0, 1/2), as in :data:`GRID`.
        binary: Whether the elements are bits.
        chosen_on: What the floor was chosen on, in words.
    """

    moments: Moments
    floor: float
    binary: bool
    chosen_on: str

    def __call__(self, rows: int) -> Gaussian | Bernoulli:
        """The distribution over ``rows`` independent examples [rows, *event], float64."""
        mean, variance = self.moments.mean.expand(rows, *self.moments.mean.shape), self.moments.variance
        if self.binary:
            return Bernoulli(mean.clamp(self.floor, 1 - self.floor).logit())
        return Gaussian(mean, variance.clamp(min=self.floor * variance.mean().item()))

    def mean_log_prob(self, other: Moments) -> float:
        """Mean log p(x) in nats of data with other moments: it depends on nothing else of the data."""
        fitted = self(1)
        spread = 0.0 if isinstance(fitted, Bernoulli) else 0.5 * (other.variance / fitted.variance).sum().item()
        return fitted.log_prob(other.mean[None]).item() - spread


def moments(data: Data, split: str, index: Tensor, rows: int) -> Moments:
    """Moments of some prepared examples, accumulated in float64.

    Arguments:
        data: The data.
        split: Name of the split.
        index: Which examples of it, a LongTensor [n].
        rows: How many to hold in memory at once.
    """
    device = data.split(split).values.device
    source = seeded(device, 0, "factorial", split)
    total = square = torch.zeros(data.shape, dtype=torch.float64, device=device)
    for part in index.split(rows):
        poll()
        values = data.batch(split, part, source, device).origin.double()
        total, square = total + values.sum(0), square + values.square().sum(0)
    mean = total / len(index)
    return Moments(mean=mean, variance=(square / len(index) - mean.square()).clamp(min=0))


def fit_factorial(data: Data, device: torch.device | str = "cpu", *, judged: str | None = None, max_rows: int = 4000) -> FactorialModel:
    """The factorial model of the training split.

    Arguments:
        data: The data.
        device: Where its draws are wanted.
        judged: The split that the model will be judged on, on which the floor is not chosen.
        max_rows: How many examples to hold in memory at once.
    """
    binary = issubclass(data.preparation.states, BinaryStates)
    split, apart, rest = held_out(data, judged)
    fitted, target = (moments(data, name, index.sort().values, max_rows) for name, index in (("train", rest), (split, apart)))
    words = "the validation split" if split == "valid" else "a held-out tenth of it"
    tried = [FactorialModel(moments=fitted, floor=floor, binary=binary, chosen_on=words) for floor in GRID]
    best = max(tried, key=lambda model: model.mean_log_prob(target))
    train = fitted if split == "valid" else moments(data, "train", torch.arange(len(data.split("train"))), max_rows)
    return attrs.evolve(best, moments=Moments(mean=train.mean.to(device), variance=train.variance.to(device)))


def held_out(data: Data, judged: str | None) -> tuple[str, Tensor, Tensor]:
    """What the floor is chosen on: its split, the examples of it, and the training examples to fit to meanwhile."""
    train = torch.randperm(len(data.split("train")), generator=seeded("cpu", 0, "factorial", "held out"))
    if "valid" in data.splits and judged != "valid":
        return "valid", torch.arange(len(data.split("valid"))), train
    tenth = max(1, len(train) // 10)
    return "train", train[:tenth], train[tenth:] if len(train) > 1 else train


_FITTED: WeakKeyDictionary[Data, dict[Any, FactorialModel]] = WeakKeyDictionary()


def factorial_of(examples: Examples, max_rows: int = 4000) -> FactorialModel:
    """The factorial model to read beside figures on some examples, fitted once per dataset.

    Arguments:
        examples: The examples that figures are about.
        max_rows: How many to hold in memory at once.
    """
    fitted = _FITTED.setdefault(examples.data, {})
    key = (str(examples.device), examples.split)
    if key not in fitted:
        fitted[key] = fit_factorial(examples.data, examples.device, judged=examples.split, max_rows=max_rows)
    return fitted[key]


def factorial_log_prob(examples: Examples, max_rows: int = 4000) -> tuple[FactorialModel, Tensor]:
    """That model, and its log p(x) of each example in nats, float64 [n].

    Arguments:
        examples: The examples that figures are about.
        max_rows: How many to hold in memory at once.
    """
    model = factorial_of(examples, max_rows)
    return model, torch.cat([model(batch.rows).log_prob(batch.origin.double()) for batch in examples.batches(max_rows)])


@attrs.frozen(kw_only=True)
class Factorial(Estimator):
    """log p(x) of the factorial model of the training data, on the same prepared examples as the chain's figures.

    Arguments:
        max_rows: How many examples to hold in memory at once.
    """

    max_rows: int = 4000

    def estimate(self, chain: Chain, process: ForwardProcess, examples: Examples) -> Estimate:
        """Fits the model and evaluates it; chain and process are not used."""
        model, each = factorial_log_prob(examples, self.max_rows)
        kind, floored = ("Bernoulli", "rates") if model.binary else ("Gaussian", "variances relative to their mean")
        return Estimate(
            name="factorial baseline",
            meaning=f"log p(x) of a factorial {kind} fitted to the training split; floor of the {floored} chosen on {model.chosen_on}",
            value=each.mean().item(),
            error_examples=standard_errors(each)[0],
            details={"floor": model.floor, "grid": list(GRID)},
            **labels(examples),
        )


def build(config: FactorialConfig, context: Context) -> Factorial:
    """The estimator that a recipe describes."""
    return Factorial(max_rows=config.max_rows)
