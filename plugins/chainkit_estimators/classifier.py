r"""Do samples read as what they should be? A small classifier, trained on the spot, is asked.

Two numbers say it, without any download: the mean confidence :math:`E_x[\max_y p(y | x)]`, high
where each sample is clearly one class, and the entropy of the mean prediction
:math:`H[E_x p(y | x)]`, high (at most log C nats) where all classes are generated. Both stand
beside those of held-out data and of the factorial model, and mean nothing without the
classifier's accuracy, which is given too.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from chainkit.chain import Chain
from chainkit.component import Context
from chainkit.data import Data, Examples
from chainkit.errors import DataError
from chainkit.estimator import Estimate, Estimator
from chainkit.interrupt import poll
from chainkit.process import ForwardProcess
from chainkit.random import seed_of, seeded
from chainkit_estimators.configs import ClassifierConfig
from chainkit_estimators.factorial import fit_factorial


class ClassifierScore(Estimator):
    """Mean confidence and class entropy of a chain's samples, under a classifier trained on the data.

    Arguments:
        samples: Number of samples to read, at least 1.
        steps: Number of sampling steps; None is the trained K.
        hidden: Units of the classifier's hidden layer.
        epochs: Passes over its training examples.
        train_examples: Most training examples that it sees.
    """

    def __init__(
        self, samples: int = 1000, *, steps: int | None = None, hidden: int = 256, epochs: int = 10, train_examples: int = 20_000
    ) -> None:
        self.samples = samples
        self.steps = steps
        self.hidden = hidden
        self.epochs = epochs
        self.train_examples = train_examples

    def estimate(self, chain: Chain, process: ForwardProcess, examples: Examples) -> Estimate:
        """Trains the classifier and reads samples, held-out data and draws of the factorial model.

        Raises:
            DataError: The data has no labels.
        """
        data, seed, device = examples.data, examples.seed, examples.device
        classes = _classes(data)
        classifier = self._train(data, classes, seed, device)
        source = seeded(device, seed, "classifier samples")
        samples = chain.sample(self.samples, steps=self.steps, condition=data.conditions(self.samples, device), source=source)
        held_out = torch.cat([batch.origin for batch in examples.batches(1000)])
        labels = _labels(data, examples.split).to(examples.index.device)[examples.index].to(device)
        factorial = fit_factorial(data, device)(self.samples).sample(source).to(data.dtype)
        confidence, entropy = _read(classifier, samples.state)
        accuracy = float((classifier(held_out).argmax(1) == labels).double().mean())
        others = {"held-out data": held_out, "factorial model": factorial}
        others |= {} if samples.mean is None else {"means of the last step": samples.mean}
        read = {name: _read(classifier, states) for name, states in others.items()}
        return Estimate(
            name="classifier confidence",
            value=float(confidence.mean()),
            meaning=f"mean confidence in the samples of a classifier that is right on {accuracy:.1%} of held-out data",
            unit="of 1",
            error_examples=float(confidence.std() / len(confidence) ** 0.5),
            examples=self.samples,
            split=examples.split,
            preparation=data.preparation.words,
            dim=data.summary.dim,
            seed=seed,
            likelihood=False,
            beside={name: float(sure.mean()) for name, (sure, _) in read.items()}
            | {"class entropy (nats)": entropy}
            | {f"of {name}": spread for name, (_, spread) in read.items()}
            | {"accuracy": accuracy},
        )

    def _train(self, data: Data, classes: int, seed: int, device: torch.device | str) -> nn.Module:
        chosen = data.examples("train", self.train_examples, seed=seed, device=device).index
        labels = _labels(data, "train")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(seed, "classifier"))
            layers = [nn.Flatten(), nn.Linear(data.summary.dim, self.hidden), nn.ReLU(), nn.Linear(self.hidden, classes)]
            classifier = nn.Sequential(*layers).to(device, data.dtype)
        optimizer = torch.optim.Adam(classifier.parameters(), 1e-3)
        for epoch in range(self.epochs):
            order = chosen[torch.randperm(len(chosen), generator=seeded("cpu", seed, "classifier order", epoch))]
            for number, index in enumerate(order.split(128)):
                poll()
                batch = data.batch("train", index, seeded(device, seed, "classifier", epoch, number), device)
                loss = cross_entropy(classifier(batch.origin), labels[index.to(labels.device)].to(device))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        return classifier.requires_grad_(False).eval()


def _labels(data: Data, split: str) -> Tensor:
    labels = data.split(split).labels
    if labels is None:
        raise DataError(f"{data.name} has no labels for a classifier to learn")
    return labels


def _classes(data: Data) -> int:
    return int(_labels(data, "train").max()) + 1


def _read(classifier: nn.Module, states: Tensor) -> tuple[Tensor, float]:
    """The confidence in each state, and the entropy of the mean prediction in nats."""
    predicted = classifier(states).double().softmax(1)
    mean = predicted.mean(0)
    return predicted.max(1).values, float(torch.special.entr(mean).sum())


def build(config: ClassifierConfig, context: Context) -> ClassifierScore:
    """Builds the estimator from a recipe."""
    return ClassifierScore(
        config.samples, steps=config.steps, hidden=config.hidden, epochs=config.epochs, train_examples=config.train_examples
    )
