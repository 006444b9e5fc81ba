r"""Do samples read as what they should be? A small classifier, trained on the spot, is asked.

Two numbers say it, without any download: the mean confidence :math:`E_x[\max_y p(y | x)]`, high
where each sample is clearly one class, and the entropy of the mean prediction
:math:`H[E_x p(y | x)]`, high (at most log C nats) where all classes are generated. Both stand
beside those of held-out data and of the factorial model, and mean nothing without the
classifier's accuracy, which is given too.
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor, nn

from chainkit.chain import Chain
from chainkit.component import Context
from chainkit.data import Examples
from chainkit.estimator import Estimate
from chainkit.process import ForwardProcess
from chainkit.random import seeded
from chainkit_estimators.configs import ClassifierConfig
from chainkit_estimators.factorial import factorial_of
from chainkit_estimators.figures import labels
from chainkit_estimators.reader import Training, accuracy, labels_of, reader
from chainkit_estimators.samples import READ, OfSamples, draws_and_means


@attrs.frozen(kw_only=True)
class ClassifierScore(OfSamples):
    """Mean confidence and class entropy of a chain's samples, under a classifier trained on the data.

    Arguments:
        samples: Number of samples to read, at least 1.
        steps: Number of sampling steps; None is the trained K.
        hidden: Units of the classifier's hidden layer.
        epochs: Passes over its training examples.
        train_examples: Most training examples that it sees.
    """

    samples: int = 1000
    steps: int | None = None
    hidden: int = 256
    epochs: int = 10
    train_examples: int = 20_000

    def check(self, chain: Chain, examples: Examples) -> None:
        super().check(chain, examples)
        labels_of(examples.data, "train")

    def estimate(self, chain: Chain, process: ForwardProcess, examples: Examples) -> Estimate:
        """Trains the classifier and reads samples, held-out data and draws of the factorial model.

        Raises:
            DataError: The data has no labels.
        """
        classifier = reader(examples, Training(hidden=self.hidden, epochs=self.epochs, train_examples=self.train_examples))
        draws, means = draws_and_means(chain, examples, self.samples, self.steps)
        factorial = factorial_of(examples)(self.samples).sample(seeded(examples.device, examples.seed, "factorial samples"))
        confidence, entropy = _read(classifier, draws)
        right = accuracy(classifier, examples)
        held_out = torch.cat([batch.origin for batch in examples.batches(READ)])
        others = {"held-out data": held_out, "factorial model": factorial.to(held_out.dtype)}
        others |= {} if means is None else {"means of the last step": means}
        read = {name: _read(classifier, states) for name, states in others.items()}
        return Estimate(
            name="classifier confidence",
            value=float(confidence.mean()),
            meaning=f"mean confidence in the samples of a classifier that is right on {right:.1%} of held-out data",
            unit="of 1",
            error_examples=float(confidence.std() / len(confidence) ** 0.5),
            likelihood=False,
            beside={name: float(sure.mean()) for name, (sure, _) in read.items()}
            | {"class entropy (nats)": entropy}
            | {f"of {name}": spread for name, (_, spread) in read.items()}
            | {"accuracy": right},
            details={"samples": self.samples},
            **labels(examples),
        )


def _read(classifier: nn.Module, states: Tensor) -> tuple[Tensor, float]:
    """The confidence in each state, and the entropy of the mean prediction in nats."""
    predicted = classifier(states).double().softmax(1)
    mean = predicted.mean(0)
    return predicted.max(1).values, float(torch.special.entr(mean).sum())


def build(config: ClassifierConfig, context: Context) -> ClassifierScore:
    """Builds the estimator from a recipe."""
    return ClassifierScore(
        samples=config.samples, steps=config.steps, hidden=config.hidden, epochs=config.epochs, train_examples=config.train_examples
    )
