r"""An Inception-like score, from a small classifier instead of Inception.

.. math:: \exp E_x\, KL(p(y | x) \,\|\, p(y)) = \exp\left(H[E_x p(y | x)] - E_x H[p(y | x)]\right)

(Salimans et al. 2016, section 4), from 1 to the number of classes: large where every sample is
clearly of one class, and all classes are generated. Beside it stands that of held-out data, on the
same scale. Its error is the jackknife's, a twentieth of the samples left out at a time.
"""

from __future__ import annotations

import math

import attrs
import torch
from torch import Tensor
from torch.special import entr

from chainkit import Chain, Context, Estimate, ForwardProcess
from chainkit.data import Examples
from chainkit_estimators.figures import jackknife_error, labels
from chainkit_estimators.reader import Training, accuracy, labels_of, reader
from chainkit_estimators.sample_configs import ClassScoreConfig
from chainkit_estimators.samples import READ, Last, OfSamples, draw, ending

GROUPS = 20


def class_score(predicted: Tensor) -> float:
    """The score of class probabilities, [n, classes]."""
    return math.exp(entr(predicted.mean(0)).sum().item() - entr(predicted).sum(1).mean().item())


def error_of_score(predicted: Tensor) -> float:
    """Standard error of the score of 20 rows or more."""
    group = torch.arange(len(predicted), device=predicted.device) % GROUPS
    return jackknife_error([class_score(predicted[group != left_out]) for left_out in range(GROUPS)])


@attrs.frozen(kw_only=True)
class ClassScore(OfSamples):
    """The score of a chain's samples; beside it that of held-out data, and the classifier's accuracy.

    Arguments:
        samples: Number of samples, at least 20.
        steps: Number of sampling steps; None is the trained K.
        last: Whether the last step is a ``draw``, as all before it, or its ``mean`` is taken.
    """

    samples: int = 1000
    steps: int | None = None
    last: Last = "draw"

    def check(self, chain: Chain, examples: Examples) -> None:
        super().check(chain, examples)
        labels_of(examples.data, "train")

    def estimate(self, chain: Chain, process: ForwardProcess, examples: Examples) -> Estimate:
        """Trains the classifier, and has it read samples.

        Raises:
            DataError: The data has no labels, or the last step no mean that is asked for.
        """
        network = reader(examples, Training())
        samples = draw(chain, examples, self.samples, self.steps, self.last)
        predicted, held_out = (
            torch.cat([network(states).double().softmax(1) for states in parts])
            for parts in (samples.split(READ), (batch.origin for batch in examples.batches(READ)))
        )
        right = accuracy(network, examples)
        return Estimate(
            name="class score",
            meaning=f"Inception-like score of {ending(self.last)} by a classifier that is right on {right:.1%} of held-out data;"
            f" {predicted.shape[1]} is best",
            value=class_score(predicted),
            unit=f"of {predicted.shape[1]}",
            error_examples=error_of_score(predicted),
            likelihood=False,
            beside={"held-out data": class_score(held_out), "accuracy": right},
            details={"samples": self.samples},
            **labels(examples),
        )


def build(config: ClassScoreConfig, context: Context) -> ClassScore:
    """The estimator that a recipe describes."""
    return ClassScore(samples=config.samples, steps=config.steps, last=config.last)
