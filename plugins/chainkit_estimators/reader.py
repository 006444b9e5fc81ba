"""A small classifier, trained on the spot: the features and the class probabilities that figures about samples are taken from."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import attrs
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from chainkit.data import Data, Examples
from chainkit.errors import DataError
from chainkit.interrupt import poll
from chainkit.random import global_seed, seeded


@attrs.frozen(kw_only=True)
class Training:
    """How a reader is trained.

    Arguments:
        hidden: Units of its hidden layer, whose activations are the features.
        epochs: Passes over its training examples.
        train_examples: The most training examples that it sees.
    """

    hidden: int = 256
    epochs: int = 10
    train_examples: int = 20_000


def labels_of(data: Data, split: str) -> Tensor:
    """Labels of a split.

    Raises:
        DataError: There are none.
    """
    labels = data.split(split).labels
    if labels is None:
        raise DataError(f"{data.name} has no labels for a classifier to learn")
    return labels


def classes_of(data: Data) -> int:
    """Number of classes of labelled data."""
    return int(labels_of(data, "train").max()) + 1


_TRAINED: WeakKeyDictionary[Data, dict[Any, nn.Sequential]] = WeakKeyDictionary()


def reader(examples: Examples, training: Training) -> nn.Sequential:
    """The classifier of some data, trained once for each seed; all but its last layer gives features.

    Arguments:
        examples: On the data, with the seed of the training.
        training: How to train it.

    Raises:
        DataError: The data has no labels.
    """
    trained = _TRAINED.setdefault(examples.data, {})
    key = (examples.seed, str(examples.device), training)
    if key not in trained:
        trained[key] = _train(examples.data, training, examples.seed, examples.device)
    return trained[key]


def accuracy(network: nn.Module, examples: Examples) -> float:
    """Share of examples that a classifier gets right."""
    labels = labels_of(examples.data, examples.split)
    right = 0
    for batch in examples.batches(1000):
        assert batch.index is not None
        right += int((network(batch.origin).argmax(1) == labels[batch.index.to(labels.device)].to(batch.origin.device)).sum())
    return right / len(examples)


def _train(data: Data, training: Training, seed: int, device: torch.device | str) -> nn.Sequential:
    chosen = data.examples("train", training.train_examples, seed=seed, device=device).index
    labels = labels_of(data, "train")
    with global_seed(seed, "classifier"):
        layers = [nn.Flatten(), nn.Linear(data.summary.dim, training.hidden), nn.ReLU(), nn.Linear(training.hidden, classes_of(data))]
        network = nn.Sequential(*layers).to(device, data.dtype)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    for epoch in range(training.epochs):
        order = chosen[torch.randperm(len(chosen), generator=seeded("cpu", seed, "classifier order", epoch))]
        for number, index in enumerate(order.split(128)):
            poll()
            batch = data.batch("train", index, seeded(device, seed, "classifier", epoch, number), device)
            loss = cross_entropy(network(batch.origin), labels[index.to(labels.device)].to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network.requires_grad_(False).eval()
