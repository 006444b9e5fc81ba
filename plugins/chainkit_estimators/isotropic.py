r"""An estimate of the same chain with an isotropic output.

.. math:: p(x | s_1) \to N(x; \mu(s_1), v I)

One variance v for all elements takes the place of the variances of the last step; the walks and q
stay as they are. It makes a chain comparable to generators that are evaluated with such an output
(infusion paper, table 3.1). With ``b_j`` the rest of log w of a walk, the importance estimate is

.. math:: \log \frac1m \sum_j \exp\left[b_j - \tfrac{D}{2} \log 2 \pi v - \frac{|x - \mu_j|^2}{2 v}\right]

and v is chosen to make its mean over other data large, by expectation maximisation:

.. math:: v \leftarrow \frac1D\, E_x \sum_j r_j |x - \mu_j|^2, \qquad r = \mathrm{softmax}_j(b_j - |x - \mu_j|^2 / 2v)

From one walk per example this is the closed form that maximises the lower bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import attrs
import torch
from torch import Tensor

from chainkit import Batch, Chain, Context, Estimate, Estimator, ForwardProcess, Transition
from chainkit.capabilities import Density, Divisible, HasMean
from chainkit.data import Examples
from chainkit.distributions import Gaussian
from chainkit.log_weight import over_walks
from chainkit.random import Source
from chainkit.transition import total_log_ratio
from chainkit_estimators.sample_configs import IsotropicConfig

ROUNDS = 500
TOLERANCE = 1e-6


def output(transition: Transition) -> tuple[Tensor, Tensor]:
    """log p(x | s_1) in nats, [B], and its mean mu, [B, *event]; float64.

    Raises:
        TypeError: p(x | s_1) has no density or no mean.
    """
    reverse = transition.reverse
    if not (isinstance(reverse, Density) and isinstance(reverse, HasMean)):
        raise TypeError(f"an isotropic output replaces one with a density and a mean, not {type(reverse).__name__}")
    return reverse.log_prob(transition.origin).double(), reverse.mean.double()


def isotropic(transition: Transition, variance: float) -> Transition:
    """The last step with another output.

    Arguments:
        transition: The step k = 1.
        variance: v > 0, in squared model units.

    Raises:
        TypeError: See :func:`output`.
    """
    before, mean = output(transition)
    reverse = Gaussian(mean, torch.full_like(mean, variance))
    share = transition.log_ratio
    if share is not None:
        share = share.double() - before + reverse.log_prob(transition.origin.double())
    return attrs.evolve(transition, reverse=reverse, log_ratio=share)


class IsotropicOutput(ForwardProcess):
    """The walks of a process, judged with an isotropic output.

    Arguments:
        process: The process.
        variance: v > 0, in squared model units.
    """

    def __init__(self, process: ForwardProcess, variance: float) -> None:
        super().__init__()
        self.process = process
        self.variance = variance

    def walk(
        self, chain: Chain, batch: Batch, *, source: Source = None, path_gradient: bool = False, with_log_ratio: bool = False
    ) -> Iterator[Transition]:
        walk = self.process.walk(chain, batch, source=source, path_gradient=path_gradient, with_log_ratio=with_log_ratio)
        for transition in walk:
            yield isotropic(transition, self.variance) if transition.k == 1 else transition


def without_output(walk: Iterable[Transition]) -> Tensor:
    """b and |x - mu|^2 of complete walks, float64 [B, 2]."""
    found: list[Tensor] = []

    def watched() -> Iterator[Transition]:
        for transition in walk:
            if transition.k == 1:
                before, mean = output(transition)
                found.extend((before, (transition.origin.double() - mean).square().flatten(1).sum(1)))
            yield transition

    total = total_log_ratio(watched())
    return torch.stack([total - found[0], found[1]], 1)


def best_variance(rest: Tensor, distance: Tensor, dim: int) -> float:
    """v by expectation maximisation, from the one that is best for the bound.

    Arguments:
        rest: b of every walk, [n, m], in nats.
        distance: |x - mu|^2 of every walk, [n, m].
        dim: D, elements of one example.
    """
    least = torch.finfo(torch.float64).tiny
    variance = max(distance.mean().item() / dim, least)
    for _ in range(ROUNDS):
        share = (rest - distance / (2 * variance)).softmax(1)
        last, variance = variance, max((share * distance).sum(1).mean().item() / dim, least)
        if abs(variance - last) <= TOLERANCE * last:
            break
    return variance


@attrs.frozen(kw_only=True)
class Isotropic(Estimator, Divisible):
    """What another estimator says of the chain with an isotropic output.

    ``details["variance"]`` is v, ``details["variance from"]`` says where it is from.

    Arguments:
        estimator: The estimator, of log w.
        variance: v > 0, in squared model units; None chooses it on the validation split, or on
            training data where there is none or the figure itself is about it.
        fit_walks: Walks from each example to choose it from, at least 1.
        fit_examples: How many examples to choose it on, at least 1.
        max_rows: About how many walks to hold in memory at once.
    """

    estimator: Estimator
    variance: float | None = None
    fit_walks: int = 10
    fit_examples: int = 500
    max_rows: int = 4000

    def check(self, chain: Chain, examples: Examples) -> None:
        self.estimator.check(chain, examples)

    def estimate(self, chain: Chain, process: ForwardProcess, examples: Examples) -> Estimate:
        """Chooses v and estimates.

        Raises:
            TypeError: p(x | s_1) has no density or no mean.
        """
        variance, chosen = (self.variance, "given") if self.variance is not None else self._chosen(chain, process, examples)
        inner = self.estimator.estimate(chain, IsotropicOutput(process, variance), examples)
        return attrs.evolve(
            inner,
            name=f"{inner.name}, isotropic output",
            meaning=f"{inner.meaning}, of the chain with one output variance for all elements",
            details={**inner.details, "variance": variance, "variance from": chosen},
        )

    def _chosen(self, chain: Chain, process: ForwardProcess, examples: Examples) -> tuple[float, str]:
        data = examples.data
        split = "valid" if "valid" in data.splits and examples.split != "valid" else "train"
        others = data.examples(split, self.fit_examples, seed=examples.seed, device=examples.device)
        others = attrs.evolve(others, journal=examples.journal)
        rest, distance = over_walks(without_output, chain, process, others, self.fit_walks, max_rows=self.max_rows).unbind(2)
        return best_variance(rest, distance, data.summary.dim), f"{len(others)} {split} examples"


def build(config: IsotropicConfig, context: Context) -> Isotropic:
    """The estimator that a recipe describes."""
    return Isotropic(
        estimator=context.build(config.estimator),
        variance=config.variance,
        fit_walks=config.fit_walks,
        fit_examples=config.fit_examples,
        max_rows=config.max_rows,
    )
