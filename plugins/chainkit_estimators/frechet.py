r"""The Fréchet distance between samples and data, each taken for a Gaussian.

.. math:: |m_1 - m_2|^2 + \mathrm{tr}\left(C_1 + C_2 - 2 (C_1^{1/2} C_2 C_1^{1/2})^{1/2}\right)

(Heusel et al. 2017, eq. 6, there on the features of Inception.) From finite sets it is too large,
the more so the smaller they are: only figures with as many samples and examples are comparable.
Beside it stands that of as much training data, which is not 0 either. Its error is the jackknife's,
a tenth of the samples or of the examples left out at a time.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import torch
from torch import Tensor

from chainkit import Chain, Context, Estimate, ForwardProcess
from chainkit.data import Examples
from chainkit.interrupt import poll
from chainkit_estimators.figures import jackknife_error, labels
from chainkit_estimators.sample_configs import FrechetConfig
from chainkit_estimators.samples import Comparing, Sampling, drawn_sets

GROUPS = 10


@attrs.frozen(kw_only=True)
class Fitted:
    """A Gaussian.

    Arguments:
        mean: m, [d].
        covariance: C, [d, d].
    """

    mean: Tensor
    covariance: Tensor


def fitted(vectors: Tensor) -> Fitted:
    """The Gaussian with the moments of some vectors, [n, d] with n at least 2."""
    return Fitted(mean=vectors.mean(0), covariance=vectors.T.cov().reshape(vectors.shape[1], -1))


def without_groups(vectors: Tensor) -> Iterator[Fitted]:
    """The Gaussians of all vectors but every tenth, from ten starts."""
    group = torch.arange(len(vectors), device=vectors.device) % GROUPS
    for left_out in range(GROUPS):
        poll()
        yield fitted(vectors[group != left_out])


def frechet_distance(one: Fitted, other: Fitted) -> float:
    """The squared Fréchet distance between two Gaussians."""
    values, vectors = torch.linalg.eigh(one.covariance)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ other.covariance @ root).clamp(min=0).sqrt().sum()
    return ((one.mean - other.mean).square().sum() + one.covariance.trace() + other.covariance.trace() - 2 * cross).item()


@attrs.frozen(kw_only=True)
class Frechet(Comparing):
    """The Fréchet distance between samples and held-out data; beside it that between training and held-out data.

    Arguments:
        sampling: What is compared.
    """

    sampling: Sampling = attrs.field(factory=lambda: Sampling(features="classifier"))

    @property
    def least(self) -> int:
        return 2 * GROUPS

    def estimate(self, chain: Chain, process: ForwardProcess, examples: Examples) -> Estimate:
        """Draws samples and compares them.

        Raises:
            DataError: Fewer than 20 examples, or no labels for the classifier.
        """
        self.check(chain, examples)
        sets = drawn_sets(chain, examples, self.sampling)
        samples, data = fitted(sets.samples), fitted(sets.held_out)
        over_samples = jackknife_error([frechet_distance(left, data) for left in without_groups(sets.samples)])
        over_data = jackknife_error([frechet_distance(samples, left) for left in without_groups(sets.held_out)])
        return Estimate(
            name="Fréchet distance",
            meaning=f"squared Fréchet distance between samples and data, on {self.sampling.words}; 0 is best",
            value=frechet_distance(samples, data),
            unit="squared units of the features",
            error_examples=(over_samples**2 + over_data**2) ** 0.5,
            likelihood=False,
            lower_is_better=True,
            beside={"training data": frechet_distance(fitted(sets.training), data)},
            details={"samples": len(sets.samples), "training examples": len(sets.training)},
            **labels(examples),
        )


def build(config: FrechetConfig, context: Context) -> Frechet:
    """The estimator that a recipe describes."""
    return Frechet(sampling=Sampling(samples=config.samples, steps=config.steps, features=config.features, last=config.last))
