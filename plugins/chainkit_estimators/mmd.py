r"""Maximum mean discrepancy between samples and data.

.. math:: \widehat{\mathrm{MMD}}{}^2 = \frac{\sum_{i \ne j} k(x_i, x_j)}{m (m - 1)} + \frac{\sum_{i \ne j} k(y_i, y_j)}{n (n - 1)}
    - \frac{2 \sum_{i, j} k(x_i, y_j)}{m n}, \qquad k(x, y) = \sum_b \exp\left(-\frac{|x - y|^2}{2 \sigma_b^2}\right)

(Gretton et al. 2012, eq. 3), without bias: around 0, on both sides of it, where samples and data are of
one distribution. Its error is the jackknife's, one sample or example left out at a time; by the
inequality of Efron and Stein that is no less than the true one in expectation, and about root two
times it where the distributions are the same.
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from chainkit import Chain, Context, Estimate, ForwardProcess
from chainkit.curve import Curve
from chainkit.data import Examples
from chainkit_estimators.distances import pairs
from chainkit_estimators.figures import labels, points
from chainkit_estimators.sample_configs import MmdConfig
from chainkit_estimators.samples import Comparing, Sampling, drawn_sets

LEAST = 3
MEDIAN_OF = 1000


@attrs.frozen(kw_only=True)
class Sums:
    """Sums of kernels, by bandwidth.

    Arguments:
        own: For each vector of one set, over the others of that set, [bandwidths, n].
        cross: For each vector of the set, over the other set, [bandwidths, n].
    """

    own: Tensor
    cross: Tensor


def kernel_sums(left: Tensor, right: Tensor, bandwidths: Tensor) -> Tensor:
    """Sum of the kernel of every left vector over all right ones, [bandwidths, n].

    Arguments:
        left: [n, d].
        right: [m, d].
        bandwidths: sigma_b, [bandwidths].
    """
    scales = -0.5 / bandwidths.square()
    return torch.cat([torch.stack([(block * scale).exp().sum(1) for scale in scales]) for block in pairs(left, right)], 1)


def sums(left: Tensor, right: Tensor, bandwidths: Tensor) -> Sums:
    """Sums for one of two sets."""
    return Sums(own=kernel_sums(left, left, bandwidths) - 1, cross=kernel_sums(left, right, bandwidths))


def mmd(x: Sums, y: Sums) -> tuple[Tensor, Tensor]:
    """The squared MMD, and by the jackknife its standard error, for every bandwidth and last for their sum.

    Arguments:
        x: Sums of one set, of 3 vectors or more.
        y: Sums of the other.
    """
    x, y = (Sums(own=_with_sum(one.own), cross=_with_sum(one.cross)) for one in (x, y))
    m, n = x.own.shape[1], y.own.shape[1]
    cross = x.cross.sum(1) / (m * n)
    within = [one.own.sum(1) / (size * (size - 1)) for one, size in ((x, m), (y, n))]
    squared = torch.zeros_like(cross)
    for one, size, other in ((x, m, n), (y, n, m)):
        own = (one.own.sum(1, keepdim=True) - 2 * one.own) / ((size - 1) * (size - 2))
        left_out = own - 2 * (one.cross.sum(1, keepdim=True) - one.cross) / ((size - 1) * other)
        squared += (size - 1) * left_out.var(1, correction=0)
    return within[0] + within[1] - 2 * cross, squared.sqrt()


def _with_sum(values: Tensor) -> Tensor:
    return torch.cat([values, values.sum(0, keepdim=True)])


def median_distance(vectors: Tensor) -> float:
    """Median distance between different vectors, [n, d]."""
    [distances] = pairs(vectors, vectors)
    above = torch.ones_like(distances, dtype=torch.bool).triu(1)
    return distances[above].median().sqrt().item()


@attrs.frozen(kw_only=True)
class Mmd(Comparing):
    """The squared MMD between samples and held-out data; beside it that between training and held-out data.

    The curve ``bandwidths`` holds it for each bandwidth alone.

    Arguments:
        sampling: What is compared.
        bandwidths: sigma_b > 0.
        relative: Whether these are multiples of the median distance between training examples (up
            to 1000 of them), or in units of the features.
    """

    sampling: Sampling = attrs.field(factory=Sampling)
    bandwidths: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0)
    relative: bool = True

    @property
    def least(self) -> int:
        return LEAST

    def estimate(self, chain: Chain, process: ForwardProcess, examples: Examples) -> Estimate:
        """Draws samples and compares them.

        Raises:
            DataError: Fewer than 3 examples.
        """
        self.check(chain, examples)
        sets = drawn_sets(chain, examples, self.sampling)
        scale = median_distance(sets.training[:MEDIAN_OF]) if self.relative else 1.0
        bandwidths = torch.tensor(self.bandwidths, dtype=torch.float64, device=sets.samples.device) * scale
        found, nearby = (
            mmd(sums(one, sets.held_out, bandwidths), sums(sets.held_out, one, bandwidths)) for one in (sets.samples, sets.training)
        )
        values, errors = found
        return Estimate(
            name="squared MMD",
            meaning=f"squared maximum mean discrepancy between samples and data, on {self.sampling.words}; 0 is best",
            value=values[-1].item(),
            unit=f"of {2 * len(bandwidths)}",
            error_examples=errors[-1].item(),
            likelihood=False,
            lower_is_better=True,
            beside={"training data": nearby[0][-1].item()},
            details={"samples": len(sets.samples), "median distance": scale if self.relative else None},
            curves=(
                Curve(
                    name="bandwidths",
                    x="bandwidth",
                    y="squared MMD",
                    unit="of 2",
                    points=points(bandwidths.tolist(), values[:-1], errors[:-1]),
                    error="standard error over samples and examples",
                    scale="log",
                ),
            ),
            **labels(examples),
        )


def build(config: MmdConfig, context: Context) -> Mmd:
    """The estimator that a recipe describes."""
    sampling = Sampling(samples=config.samples, steps=config.steps, features=config.features, last=config.last)
    return Mmd(sampling=sampling, bandwidths=tuple(config.bandwidths), relative=config.relative)
