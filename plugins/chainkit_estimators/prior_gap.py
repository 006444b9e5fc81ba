r"""The gap between the ends of the walks and the prior.

.. math:: KL(q(s_K) \,\|\, p^*) \ge \sum_i KL(q(s_{K,i}) \,\|\, p^*_i) \ge \sum_i KL(\tilde q_i \,\|\, p^*_i),
    \qquad q(s_K) = E_x[q(s_K | x)]

where q~_i is the distribution of the prior's family with the mean and variance of ``s_{K,i}``. The
first inequality leaves out the dependencies between elements (p* is factorial); the second is
Pythagoras' for a Gaussian p*_i, and an equality for bits. Put beside a bound it tells how much of
it is lost because generation starts somewhere else than the walks ended.

From n examples the right-hand side is overestimated by about (number of fitted parameters) / 2n
nats: 1/n per Gaussian element, 1/2n per bit. The delete-a-group jackknife removes this bias and
gives the standard error.
"""

from __future__ import annotations

import math

import attrs
import torch
from torch import Tensor
from torch.nn.functional import softplus

from chainkit import Batch, Chain, Context, Estimate, Estimator, ForwardProcess
from chainkit.capabilities import Marginals
from chainkit.data import Examples
from chainkit.distributions import Bernoulli, Gaussian
from chainkit.errors import DataError
from chainkit.interrupt import poll
from chainkit.modes import evaluating
from chainkit.random import Source
from chainkit.states import per_row
from chainkit_estimators.configs import PriorGapConfig
from chainkit_estimators.figures import jackknife_error, labels

GROUPS = 20
FEW = "{examples} examples are few: the moments of the walks' ends add a bias of {bias:.3g} nats, more than the gap of {gap:.3g} itself"


def last_state(chain: Chain, process: ForwardProcess, batch: Batch, source: Source) -> Tensor:
    """s_K of one walk from each example, [B, *event]; drawn at once where the process can.

    Raises:
        TypeError: The states are not tensors.
    """
    if isinstance(process, Marginals):
        state = process.marginal(batch.origin, chain.steps).sample(source)
    else:
        walk = process.walk(chain, batch, source=source)
        state = next(transition.state for transition in walk if transition.k == chain.steps)
    if not isinstance(state, Tensor):
        raise TypeError(f"the prior gap is estimated for states that are tensors, not {type(state).__name__}")
    return state


def divergence(prior: Gaussian | Bernoulli, mean: Tensor, variance: Tensor) -> Tensor:
    """``sum_i KL(q~_i || p*_i)`` of each row of moments, [rows], in nats.

    Arguments:
        prior: p*, one row.
        mean: Mean of every element, [rows, *event], float64.
        variance: Its variance, [rows, *event].
    """
    if isinstance(prior, Bernoulli):
        logits = prior.logits.double()
        elementwise = torch.xlogy(mean, mean) + torch.xlogy(1 - mean, 1 - mean) - mean * logits + softplus(logits)
    else:
        width = prior.variance.double()
        ratio = variance.clamp(min=torch.finfo(torch.float64).tiny) / width
        elementwise = 0.5 * (ratio - 1 - ratio.log() + (mean - prior.mean.double()).square() / width)
    return elementwise.flatten(1).sum(1)


@attrs.frozen(kw_only=True)
class Ends:
    """Sums over the last states of many walks, in groups of examples; float64.

    Arguments:
        count: Examples in each group, [GROUPS].
        total: Sum of s_K, [GROUPS, *event].
        square: Sum of its square, [GROUPS, *event].
        moved: Sum over examples and elements of (s_K - x)^2.
        forgotten: What ``moved`` would be in expectation if s_K were drawn from the prior.
    """

    count: Tensor
    total: Tensor
    square: Tensor
    moved: float
    forgotten: float


@torch.no_grad()
def walk_to_the_end(chain: Chain, process: ForwardProcess, examples: Examples, prior: Gaussian | Bernoulli, max_rows: int) -> Ends:
    """Walks once from every example, and sums up where the walks end.

    Arguments:
        chain: The generative chain.
        process: The forward process.
        examples: The data points.
        prior: p*, one row.
        max_rows: How many walks to hold in memory at once.
    """
    device = torch.device(examples.device)
    count = torch.zeros(GROUPS, dtype=torch.float64, device=device)
    total = torch.zeros(GROUPS, *examples.data.shape, dtype=torch.float64, device=device)
    square, seen, moved, forgotten = torch.zeros_like(total), 0, 0.0, 0.0
    centre, spread = prior.mean.double(), (prior.variance if isinstance(prior, Gaussian) else prior.mean * (1 - prior.mean)).double()
    with evaluating(chain, process), torch.autocast(device.type, enabled=False):
        for batch in examples.batches(max_rows):
            poll()
            assert batch.index is not None
            origin = batch.origin.double()
            state = last_state(chain, process, batch, examples.source(batch.index, "prior gap")).double()
            group = torch.arange(seen, seen := seen + len(batch), device=device) % GROUPS
            count.index_add_(0, group, torch.ones_like(group, dtype=count.dtype))
            total.index_add_(0, group, state)
            square.index_add_(0, group, state.square())
            moved += (state - origin).square().sum().item()
            forgotten += ((centre - origin).square() + spread).sum().item()
    return Ends(count=count, total=total, square=square, moved=moved, forgotten=forgotten)


def jackknife(prior: Gaussian | Bernoulli, ends: Ends) -> tuple[float, float, float]:
    r"""The divergence without its first-order bias, its standard error, and that bias, in nats.

    .. math:: \hat\theta = G \theta - \sum_g (1 - n_g / n)\, \theta_{-g}, \qquad
        \hat e^2 = \frac{G - 1}{G} \sum_g (\theta_{-g} - \bar\theta_{-\cdot})^2

    where theta_{-g} leaves the g-th of G groups of examples out.

    Arguments:
        prior: p*, one row.
        ends: Where the walks ended.
    """

    def of(count: Tensor, total: Tensor, square: Tensor) -> Tensor:
        each = per_row(count, total)
        mean = total / each
        return divergence(prior, mean, (square / each - mean.square()).clamp(min=0))

    count, total, square = ends.count, ends.total, ends.square
    n = count.sum()
    whole = of(n[None], total.sum(0, keepdim=True), square.sum(0, keepdim=True)).item()
    without = of(n - count, total.sum(0) - total, square.sum(0) - square)
    value = (GROUPS * whole - ((1 - count / n) * without).sum()).item()
    return value, jackknife_error(without.tolist()), whole - value


def _prior(chain: Chain) -> Gaussian | Bernoulli:
    prior = chain.prior(1)
    if not isinstance(prior, (Gaussian, Bernoulli)):
        raise ValueError(f"the prior gap is estimated for Gaussian and Bernoulli priors, not {type(prior).__name__}")
    return prior


@attrs.frozen(kw_only=True)
class PriorGap(Estimator):
    """A lower estimate of KL(q(s_K) || p*) in nats, and how far the walks moved.

    ``details``: ``bias``, what the jackknife took off; ``moved``, the root mean square distance per
    element between s_K and x in model units; ``moved_if_forgotten``, what it would be for s_K drawn
    from the prior regardless of x.

    Arguments:
        max_rows: How many walks to hold in memory at once.
    """

    max_rows: int = 4000

    def check(self, chain: Chain, examples: Examples) -> None:
        if len(examples) < 2 * GROUPS:
            raise DataError(f"{2 * GROUPS} examples or more are needed, not {len(examples)}")
        _prior(chain)

    def estimate(self, chain: Chain, process: ForwardProcess, examples: Examples) -> Estimate:
        """Estimates the gap from one walk per example.

        Raises:
            DataError: Fewer than 40 examples.
            ValueError: The prior is neither Gaussian nor Bernoulli.
            TypeError: The states are not tensors.
        """
        self.check(chain, examples)
        prior = _prior(chain)
        ends = walk_to_the_end(chain, process, examples, prior, self.max_rows)
        gap, error, bias = jackknife(prior, ends)
        elements = len(examples) * math.prod(examples.data.shape)
        return Estimate(
            name="prior gap",
            meaning="lower estimate of KL(q(s_K) || p*), from the moments of every element",
            value=gap,
            error_examples=error,
            walks=1,
            likelihood=False,
            lower_is_better=True,
            details={
                "bias": bias,
                "moved": math.sqrt(ends.moved / elements),
                "moved_if_forgotten": math.sqrt(ends.forgotten / elements),
            },
            warnings=(FEW.format(examples=len(examples), bias=bias, gap=gap),) if bias > max(abs(gap), 1.0) else (),
            **labels(examples),
        )


def build(config: PriorGapConfig, context: Context) -> PriorGap:
    """The estimator that a recipe describes."""
    return PriorGap(max_rows=config.max_rows)
