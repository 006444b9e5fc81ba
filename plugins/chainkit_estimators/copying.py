r"""Are samples copies of training examples?

.. math:: \frac1m \sum_i 1\left[|y_i - t(y_i)| < |t(y_i) - t'(y_i)|\right]

where t(y) is the training example nearest to the sample y, and t' the other training example that is
nearest to t: the share of samples that are nearer to a training example than training examples are
to each other (one minus the authenticity of Alaa et al. 2022). It is 1 for copies, also noisy ones.

A sample of the distribution of the training data counts where the two are each other's nearest
neighbours, which has the probability 2/3 in one dimension, 0.62 in two, and 1/2 in very many
(Pickard 1982). What tells copying is how far the share is above that of held-out data, which stands
beside it.
"""

from __future__ import annotations

from functools import partial

import attrs
import torch
from torch import Tensor

from chainkit import Chain, Context, Estimate, ForwardProcess
from chainkit.data import Examples
from chainkit_estimators.distances import nearest
from chainkit_estimators.figures import labels, standard_errors
from chainkit_estimators.sample_configs import CopyingConfig
from chainkit_estimators.samples import Comparing, Features, Sampling, blocks_of, draw, features


def copied(vectors: Tensor, training: Examples, found: Features) -> Tensor:
    """Whether each vector is nearer to a training example than that is to the others, float64 [n].

    Arguments:
        vectors: [n, d].
        training: The training examples, two or more.
        found: Features of states.
    """
    blocks = partial(blocks_of, training, found)
    distance, number = (answer[:, 0] for answer in nearest(vectors, blocks()))
    hit, place = number.unique(return_inverse=True)
    chosen = attrs.evolve(training, index=training.index[hit.to(training.index.device)])
    own, _ = nearest(torch.cat(list(blocks_of(chosen, found))), blocks(), 2)
    return (distance < own[:, 1][place]).double()


@attrs.frozen(kw_only=True)
class Copying(Comparing):
    """The share of samples that are copies; beside it the same of held-out data.

    Arguments:
        sampling: What is compared.
        train_examples: The most training examples to compare with; None takes all.
    """

    sampling: Sampling = attrs.field(factory=Sampling)
    train_examples: int | None = None

    @property
    def least(self) -> int:
        return 2

    def estimate(self, chain: Chain, process: ForwardProcess, examples: Examples) -> Estimate:
        """Draws samples and looks for their nearest training examples.

        Raises:
            DataError: There is one example only.
        """
        self.check(chain, examples)
        found = features(self.sampling.features, examples)
        training = examples.data.examples("train", self.train_examples, seed=examples.seed, device=examples.device)
        samples = found(draw(chain, examples, self.sampling.samples, self.sampling.steps, self.sampling.last))
        terms = copied(samples, training, found)
        others = copied(torch.cat(list(blocks_of(examples, found))), training, found)
        return Estimate(
            name="copying",
            meaning=f"share of samples nearer to a training example than its nearest other, on {self.sampling.words}",
            value=terms.mean().item(),
            unit="of 1",
            error_examples=standard_errors(terms)[0],
            likelihood=False,
            lower_is_better=True,
            beside={"held-out data": others.mean().item()},
            details={"samples": len(samples), "training examples": len(training), "error of held-out data": standard_errors(others)[0]},
            **labels(examples),
        )


def build(config: CopyingConfig, context: Context) -> Copying:
    """The estimator that a recipe describes."""
    sampling = Sampling(samples=config.samples, steps=config.steps, features=config.features, last=config.last)
    return Copying(sampling=sampling, train_examples=config.train_examples)
