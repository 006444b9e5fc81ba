r"""The Parzen-window estimate: a Gaussian around every sample, and the test data under their mixture.

.. math:: \hat p(x) = \frac1n \sum_{j=1}^{n} N(x; y_j, \sigma^2 I), \qquad
    \log \hat p(x) = \mathrm{logsumexp}_j \left( -\frac{\|x - y_j\|^2}{2 \sigma^2} \right)
    - \log n - \frac{D}{2} \log(2 \pi \sigma^2)

(Breuleux, Bengio and Vincent 2011; table 3.1 of the infusion paper). The centres y_j are samples of
the chain, or the means of its last step, which are less noisy and stand in the published figures. The
width is the one of a logarithmic grid under which other data is the most likely, or is given.

In expectation over the samples it is a lower bound on the log density of samples with noise of
variance sigma^2 added. In high dimension that is far from log p(x) for any number of samples that
can be drawn, and ranks models badly (Theis, van den Oord and Bethge 2016): models can exceed the
training data itself, whose figure therefore stands beside.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import attrs
import torch
from torch import Tensor

from chainkit import Chain, Context, Data, Estimate, ForwardProcess
from chainkit.capabilities import Divisible
from chainkit.data import Examples
from chainkit.errors import DataError
from chainkit.interrupt import poll
from chainkit_estimators.configs import ParzenConfig
from chainkit_estimators.factorial import held_out
from chainkit_estimators.figures import labels, standard_errors
from chainkit_estimators.samples import Last, OfSamples, draw

GRID = tuple(10 ** (exponent / 10) for exponent in range(-15, 6))
"""Widths to choose from, by tenths of a decade: relative to the root mean square deviation of an
element of the training data."""

BLOCK = 500
"""Centres that distances are taken to at once."""

CAVEAT = "Parzen figures rank models badly in high dimension (Theis et al. 2016): compare them with nothing but each other"
AT_THE_END = "the width {sigma:.3g} lies at the end of the grid: the best one lies beyond"


def log_density(points: Tensor, centres: Tensor, sigmas: Tensor, max_rows: int = 1000) -> Tensor:
    """log p^(x) of points under mixtures of several widths, accumulated in float64, in bounded memory.

    Arguments:
        points: x, [N, D].
        centres: y, [n, D].
        sigmas: Widths above 0, float64 [S].
        max_rows: How many points to hold in memory at once.

    Returns:
        A float64 tensor [N, S], in nats.
    """
    sharpness, shift = -0.5 / sigmas.square(), centres.double().mean(0)
    found = []
    for part in points.split(max_rows):
        near = part.double() - shift  # about 0, where the difference of squares loses the least
        total = near.new_full((len(near), len(sigmas)), -math.inf)
        for block in centres.split(BLOCK):
            poll()
            other = block.double() - shift
            squared = near.square().sum(1, keepdim=True) + other.square().sum(1) - 2 * near @ other.T
            terms = [(scale * squared).logsumexp(1) for scale in sharpness]
            total = torch.logaddexp(total, torch.stack(terms, 1))
        found.append(total)
    constant = -math.log(len(centres)) - 0.5 * centres.shape[1] * (2 * math.pi * sigmas.square()).log()
    return torch.cat(found) + constant


def _by_parts(function: Callable[[Tensor], Tensor], examples: Examples, max_rows: int) -> list[Tensor]:
    """What a function of points [n, D] makes of all examples, in parts that the examples' journal keeps, on the CPU."""

    def piece(index: Tensor) -> Tensor:
        poll()
        return function(examples.batch(index).origin.flatten(1)).cpu()

    return list(examples.journal.keep_each([partial(piece, index) for index in examples.index.split(max_rows)]))


@attrs.frozen(kw_only=True)
class Fit:
    """A mixture with its width.

    Arguments:
        centres: y, [n, D].
        sigma: The width, above 0, in model units.
        at_the_end: Whether it is the smallest or the largest that was tried.
    """

    centres: Tensor
    sigma: float
    at_the_end: bool = False

    def log_prob(self, examples: Examples, max_rows: int) -> Tensor:
        """log p^(x) of examples, float64 [n], in nats."""
        width = torch.tensor([self.sigma], dtype=torch.float64, device=self.centres.device)
        return torch.cat(_by_parts(lambda points: log_density(points, self.centres, width, max_rows), examples, max_rows)).squeeze(1)


def fit(centres: Tensor, examples: Examples, scale: float, max_rows: int) -> Fit:
    """The mixture whose width makes some examples the most likely.

    Arguments:
        centres: y, [n, D].
        examples: The examples, other than those that the mixture will be judged on.
        scale: Root mean square deviation of an element of the data, in model units.
        max_rows: How many examples to hold in memory at once.
    """
    grid = scale * torch.tensor(GRID, dtype=torch.float64, device=centres.device)
    totals = _by_parts(lambda points: log_density(points, centres, grid, max_rows).sum(0), examples, max_rows)
    best = int(torch.stack(totals).sum(0).argmax())
    return Fit(centres=centres, sigma=float(grid[best]), at_the_end=best in (0, len(grid) - 1))


@attrs.frozen(kw_only=True)
class Parzen(OfSamples, Divisible):
    """Mean log density of examples under a Parzen window around samples of the chain.

    ``beside`` holds the figure with training examples as the centres, as many as there are samples.
    ``details``: ``sigma``, ``samples``, ``centres``, and ``sigma_of_training_examples``.

    Arguments:
        samples: n, number of centres, at least 1.
        centres: ``means`` of the last step, or ``draws``.
        sigma: The width, above 0, in model units; None chooses it.
        chosen_on: Most validation examples that a width is chosen on, at least 1.
        steps: Number of sampling steps; None is the trained K.
        max_rows: How many examples to hold in memory at once.
        data: The data that is judged, if it is other than what the chain was trained on: the same
            examples in another preparation, such as the grey pictures that were made binary.
    """

    samples: int = 10_000
    centres: str = "means"
    sigma: float | None = None
    chosen_on: int = 1000
    steps: int | None = None
    max_rows: int = 1000
    data: Data | None = None

    @property
    def last(self) -> Last:
        return "mean" if self.centres == "means" else "draw"

    def estimate(self, chain: Chain, process: ForwardProcess, examples: Examples) -> Estimate:
        """Samples, chooses a width, and evaluates the mixture; the process is not used.

        Raises:
            DataError: The last step of the chain has no mean where means are wanted, or the data that
                is judged is not the same examples.
            TypeError: The samples are not of the shape of the data.
        """
        centres = draw(chain, examples, self.samples, self.steps, self.last).flatten(1)
        examples = examples if self.data is None else _prepared_otherwise(examples, self.data)
        data = examples.data
        split, apart, rest = held_out(data, examples.split)
        others = attrs.evolve(examples, split=split, index=apart[: self.chosen_on])
        model, training = self._fit(centres, others), self._fit(_training(data, rest[: self.samples], examples), others)
        each = model.log_prob(examples, self.max_rows)
        what = "means of the last step" if self.centres == "means" else "draws"
        how = (
            "given"
            if self.sigma is not None
            else f"chosen on {len(others)} {'validation' if split == 'valid' else 'held-out training'} examples"
        )
        return Estimate(
            name="Parzen window",
            meaning=f"log density of Gaussians of width {model.sigma:.3g} ({how}) around {self.samples} {what}",
            value=each.mean().item(),
            error_examples=standard_errors(each)[0],
            likelihood=False,
            beside={f"of {len(training.centres)} training examples": training.log_prob(examples, self.max_rows).mean().item()},
            details={
                "sigma": model.sigma,
                "samples": self.samples,
                "centres": self.centres,
                "sigma_of_training_examples": training.sigma,
            },
            warnings=(CAVEAT, *([AT_THE_END.format(sigma=model.sigma)] if model.at_the_end else [])),
            **labels(examples),
        )

    def _fit(self, centres: Tensor, others: Examples) -> Fit:
        if self.sigma is not None:
            return Fit(centres=centres, sigma=self.sigma)
        return fit(centres, others, others.data.summary.variance.double().mean().sqrt().item(), self.max_rows)


def _training(data: Data, index: Tensor, like: Examples) -> Tensor:
    """Training examples as centres, [n, D]."""
    return torch.cat([batch.origin.flatten(1) for batch in attrs.evolve(like, split="train", index=index).batches(BLOCK)])


def _prepared_otherwise(examples: Examples, data: Data) -> Examples:
    """The same examples of a dataset that prepares them in another way."""
    own = examples.data
    sizes, wanted = ({name: len(split) for name, split in each.splits.items()} for each in (data, own))
    if data.shape != own.shape or sizes != wanted:
        raise DataError(f"parzen: {data.name} has other examples than {own.name}, which the chain was trained on")
    data.to(examples.device, own.dtype)
    return attrs.evolve(examples, data=data)


def build(config: ParzenConfig, context: Context) -> Parzen:
    """The estimator that a recipe describes."""
    settings = {field.name: getattr(config, field.name) for field in attrs.fields(ParzenConfig)}
    return Parzen(**{**settings, "data": None if config.data is None else context.build(config.data)})
