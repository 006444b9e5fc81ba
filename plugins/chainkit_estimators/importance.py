r"""The importance-sampling estimate.

.. math:: \log p(x) \approx \log \frac1m \sum_{j=1}^{m} w_j, \qquad
    n_\text{eff} = \frac{(\sum_j w_j)^2}{\sum_j w_j^2}

(walkback paper, eq. 10; infusion paper, eq. 3.3.2 and note 4). In expectation it is a lower bound
that rises with m to log p(x); at m = 1 it is the variational bound.

The error from the finite number of walks is that of a bootstrap over the walks (Efron 1979), in 50
blocks where there are more: no outcome of the walks bounds it, whereas the first-order formula
``1 / n_eff - 1 / m`` never says more than one nat, however far the walks have collapsed. The mean of
the repetitions lies below the estimate by about as much as the estimate lies below log p(x).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs
import torch
from torch import Tensor

from chainkit import Chain, Context, Estimate, Estimator, ForwardProcess
from chainkit.capabilities import Divisible
from chainkit.config import at_least
from chainkit.curve import Curve
from chainkit.data import Examples
from chainkit.random import seeded
from chainkit_estimators.configs import ImportanceConfig
from chainkit_estimators.factorial import factorial_log_prob
from chainkit_estimators.figures import labels, law, points, standard_errors, walked

COLLAPSED = 10.0
BLOCKS = 50
REPETITIONS = 100
HELD_ROWS = 128
"""Rows whose repetitions are held at once: 5 MiB."""


def log_mean_exp(weights: Tensor) -> Tensor:
    """``log(mean(exp(.)))`` over the last dimension."""
    return weights.logsumexp(-1) - math.log(weights.shape[-1])


def effective_size(weights: Tensor) -> Tensor:
    """Effective sample size of each row of log weights, from 1 to the number of walks."""
    return (2 * weights.logsumexp(-1) - (2 * weights).logsumexp(-1)).exp()


def bootstrap(weights: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Repeats the log mean exp of each row with its entries drawn anew.

    Rows are repeated with the same draws, so that none depends on the others. Draws from B blocks vary by
    (B - 1) / B of what the blocks' own law does, which is put right.

    Arguments:
        weights: Log weights, [n, m]; drawn one by one, or in about :data:`BLOCKS` blocks where there are more.
        seed: Seed of the draws.

    Returns:
        By how much the mean of the repetitions is below the estimate, and their variance, [n] each.
    """
    size = -(-weights.shape[1] // BLOCKS)
    parts = weights.split(size, 1)
    blocks = torch.stack([part.logsumexp(1) for part in parts], 1)
    sizes = torch.tensor([part.shape[1] for part in parts], dtype=torch.float64)
    drawn = torch.randint(len(parts), (REPETITIONS, len(parts)), generator=seeded("cpu", seed, "bootstrap"))
    times = torch.zeros(drawn.shape, dtype=torch.float64).scatter_add_(1, drawn, torch.ones(drawn.shape, dtype=torch.float64))
    sums = torch.cat([(rows[:, None] + times.log()).logsumexp(2) for rows in blocks.split(HELD_ROWS)])
    repeated = sums - (times @ sizes).log()
    unbiased = len(parts) / max(1, len(parts) - 1)
    return unbiased * (log_mean_exp(weights) - repeated.mean(1)), unbiased * repeated.var(1).nan_to_num(nan=math.inf)


def curve_points(walks: int) -> list[int]:
    """1, 3, 10, 30, .. up to the number of walks, which is the last."""
    decades = range(len(str(walks)))
    return sorted({point for decade in decades for point in (10**decade, 3 * 10**decade) if point < walks} | {walks})


def with_walks(weights: Tensor, count: int, within: Tensor) -> Tensor:
    """The estimate with fewer walks, its squared error and the effective sample size, [n, 3].

    Arguments:
        weights: Log weights of all walks, [n, m].
        count: Number of walks, 1..m; all disjoint groups of so many take part.
        within: Squared error with all walks, [n], where there is one group alone.
    """
    groups = weights.shape[1] // count
    grouped = weights[:, : groups * count].unflatten(1, (groups, count))
    values = log_mean_exp(grouped)
    squared = values.var(1) / groups if groups > 1 else within
    return torch.stack([values.mean(1), squared, effective_size(grouped).mean(1)], 1)


def curves(counts: Sequence[int], along: Tensor, effective: Tensor) -> tuple[Curve, ...]:
    """The curves of an importance estimate.

    Arguments:
        counts: Numbers of walks.
        along: Estimate, squared error and effective sample size of every example at each, [n, counts, 3].
        effective: Effective sample size of every example with all walks, [n].
    """
    values, squared, sizes = along.mean(0).T
    errors = (squared / len(along)).sqrt() if counts[-1] > 1 else None
    walks, quantiles = "walks from each example", torch.linspace(0, 1, 21, dtype=torch.float64)
    return (
        Curve(
            name="walks",
            x=walks,
            y="estimate of log p(x)",
            unit="nats",
            points=points(counts, values, errors),
            error="standard error over walks",
            scale="log",
        ),
        Curve(name="walks", x=walks, y="mean effective sample size", unit="walks", points=points(counts, sizes), scale="log"),
        Curve(
            name="examples",
            x="share of the examples with no more",
            y="effective sample size",
            unit="walks",
            points=points(quantiles.tolist(), effective.quantile(quantiles)),
        ),
    )


@attrs.frozen(kw_only=True)
class Importance(Estimator, Divisible):
    """The log of the mean of w, averaged over the examples.

    The curve ``walks`` holds the estimate with 1, 3, 10, ... walks, each the mean over all disjoint
    groups of that many: it starts at the lower bound, and should be flat at its end. Its errors are
    those of the walks alone, since all points are about the same examples. Two more curves hold the
    effective sample size, by the number of walks and over the examples. ``details["shortfall"]`` is
    the bootstrap's estimate of how far the value is below log p(x), in nats.

    Arguments:
        walks: Walks from each example, at least 1.
        max_rows: About how many walks to hold in memory at once.
    """

    walks: int = attrs.field(default=1000, validator=at_least(1))
    max_rows: int = attrs.field(default=4000, validator=at_least(1))

    def estimate(self, chain: Chain, process: ForwardProcess, examples: Examples) -> Estimate:
        """Estimates log p(x).

        Raises:
            NonFiniteError: A log w is not a number, or plus infinity.
        """
        counts = curve_points(self.walks)
        found = []
        for weights in walked("importance sampling", chain, process, examples, self.walks, self.max_rows):
            bias, within = bootstrap(weights, examples.seed)
            along = torch.stack([with_walks(weights, count, within) for count in counts], 1)
            found.append((effective_size(weights), bias, within, along))
        effective, bias, within, along = (torch.cat(parts) for parts in zip(*found, strict=True))
        values = along[:, -1, 0]
        over_examples, over_walks = standard_errors(values, within if self.walks > 1 else None)
        return Estimate(
            name="importance sampling",
            meaning=f"importance-sampling estimate of {law(examples.data)}, in expectation a lower bound",
            value=values.mean().item(),
            error_examples=over_examples,
            error_walks=over_walks,
            walks=self.walks,
            baseline=factorial_log_prob(examples, self.max_rows)[1].mean().item(),
            effective=effective.mean().item(),
            effective_min=effective.min().item(),
            details={"shortfall": bias.mean().item()} if self.walks > 1 else {},
            curves=curves(counts, along, effective),
            warnings=self._warnings(effective),
            **labels(examples),
        )

    def _warnings(self, effective: Tensor) -> tuple[str, ...]:
        least = min(COLLAPSED, self.walks / 2)
        collapsed = int((effective < least).sum())
        if not collapsed:
            return ()
        return (
            f"for {collapsed} of {len(effective)} examples fewer than {least:g} of {self.walks} walks carry the estimate: "
            f"it is below log p(x) by more than its errors say; read the curve over the number of walks",
        )


def build(config: ImportanceConfig, context: Context) -> Importance:
    """The estimator that a recipe describes."""
    return Importance(walks=config.walks, max_rows=config.max_rows)
