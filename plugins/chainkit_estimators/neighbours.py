r"""Quality and variety of samples by nearest neighbours.

With x_1..x_n data, y_1..y_m samples, and B(.) the closed ball around a point that reaches its k-th
nearest other point of its own set:

.. math::
    \text{precision} &= \frac1m \sum_i 1\left[y_i \in \cup_j B(x_j)\right], &
    \text{recall} &= \frac1n \sum_j 1\left[x_j \in \cup_i B(y_i)\right] \\
    \text{density} &= \frac1{k m} \sum_{i, j} 1\left[y_i \in B(x_j)\right], &
    \text{coverage} &= \frac1n \sum_j 1\left[\exists i : y_i \in B(x_j)\right]

(Kynkäänniemi et al. 2019; Naeem et al. 2020). Where both sets are of one distribution, density is 1
and coverage :math:`1 - \prod_{i=1}^k (n - i) / (n + m - i)` in expectation.
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from chainkit import Chain, Context, Estimate, ForwardProcess
from chainkit.data import Examples
from chainkit_estimators.distances import pairs, radii
from chainkit_estimators.figures import labels, standard_errors
from chainkit_estimators.sample_configs import NeighboursConfig
from chainkit_estimators.samples import Comparing, Sampling, drawn_sets


@attrs.frozen(kw_only=True)
class Neighbourhoods:
    """Which points of one set lie in the balls of another.

    Arguments:
        inside: For each point, in how many balls it lies, [n].
        reached: For each ball, whether a point lies in it, [m].
    """

    inside: Tensor
    reached: Tensor


def neighbourhoods(points: Tensor, centres: Tensor, k: int) -> Neighbourhoods:
    """Counts points in the balls around centres.

    Arguments:
        points: [n, d].
        centres: [m, d], m above k.
        k: Each ball reaches the k-th nearest other centre.
    """
    reach = radii(centres, k)
    inside, reached = [], torch.zeros(len(centres), dtype=torch.bool, device=centres.device)
    for block in pairs(points, centres):
        within = block <= reach
        inside.append(within.sum(1))
        reached |= within.any(0)
    return Neighbourhoods(inside=torch.cat(inside), reached=reached)


def scores(samples: Tensor, data: Tensor, k: int) -> dict[str, Tensor]:
    """The four scores, each as terms whose mean it is.

    Arguments:
        samples: y, [m, d], m above k.
        data: x, [n, d], n above k.
        k: Number of neighbours.
    """
    around_data, around_samples = neighbourhoods(samples, data, k), neighbourhoods(data, samples, k)
    terms = {
        "precision": around_data.inside > 0,
        "recall": around_samples.inside > 0,
        "density": around_data.inside / k,
        "coverage": around_data.reached,
    }
    return {name: values.double() for name, values in terms.items()}


@attrs.frozen(kw_only=True)
class Neighbours(Comparing):
    """Coverage of the held-out data by samples; beside it precision, recall and density, and all four of training data.

    Its error is that of a mean over the examples, the samples given; ``details`` has those of the
    other scores, over the samples or the examples that they are means of.

    Arguments:
        sampling: What is compared.
        k: Number of neighbours, at least 1.
    """

    sampling: Sampling = attrs.field(factory=Sampling)
    k: int = 5

    @property
    def least(self) -> int:
        return self.k + 1

    def estimate(self, chain: Chain, process: ForwardProcess, examples: Examples) -> Estimate:
        """Draws samples and compares them.

        Raises:
            DataError: No more than k examples.
        """
        self.check(chain, examples)
        sets = drawn_sets(chain, examples, self.sampling)
        found = scores(sets.samples, sets.held_out, self.k)
        nearby = scores(sets.training, sets.held_out, self.k)
        others = {name: terms.mean().item() for name, terms in found.items() if name != "coverage"}
        return Estimate(
            name="coverage",
            meaning=f"share of examples with a sample among their {self.k} nearest neighbours, on {self.sampling.words}; 1 is best",
            value=found["coverage"].mean().item(),
            unit="of 1",
            error_examples=standard_errors(found["coverage"])[0],
            likelihood=False,
            beside=others | {f"{name} of training data": terms.mean().item() for name, terms in nearby.items()},
            details={
                "samples": len(sets.samples),
                "k": self.k,
                "errors": {name: standard_errors(terms)[0] for name, terms in found.items()},
            },
            **labels(examples),
        )


def build(config: NeighboursConfig, context: Context) -> Neighbours:
    """The estimator that a recipe describes."""
    return Neighbours(sampling=Sampling(samples=config.samples, steps=config.steps, features=config.features, last=config.last), k=config.k)
