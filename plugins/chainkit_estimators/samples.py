"""What estimators about samples compare: samples of the chain, held-out data and training data, as features.

Samples are drawn in blocks of 500, each with random numbers of its own and kept in the examples'
journal; all estimators of one evaluation that ask for as many see the same ones. A conditional chain
is given what training examples, drawn anew with replacement, are conditioned on: its samples are then
of the law of the data, whatever the shares of the classes, if it is the conditional one.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal, TypeAlias

import attrs
import torch
from torch import Tensor

from chainkit import Chain, Estimator
from chainkit.data import Examples
from chainkit.errors import DataError, NonFiniteError
from chainkit.interrupt import poll
from chainkit.random import integers, seeded
from chainkit_estimators.reader import Training, labels_of, reader

BLOCK = 500
READ = 1000

Kind: TypeAlias = Literal["pixels", "classifier"]
Last: TypeAlias = Literal["draw", "mean"]
Features: TypeAlias = Callable[[Tensor], Tensor]
"""From states [n, *event] to float64 [n, d]."""


class OfSamples(Estimator):
    """An estimator that draws samples."""

    @property
    @abstractmethod
    def steps(self) -> int | None:
        """Number of sampling steps; None is the trained K."""

    @property
    def last(self) -> Last:
        """See :func:`draw`."""
        return "draw"

    def check(self, chain: Chain, examples: Examples) -> None:
        chain.plan(chain.steps if self.steps is None else self.steps)
        if self.last == "mean":
            _block(chain, examples, 0, 1, self.steps, self.last)  # whether there is one is known once there is a sample


def draw(chain: Chain, examples: Examples, n: int, steps: int | None = None, last: Last = "draw") -> Tensor:
    """Samples of a chain, [n, *event].

    Arguments:
        chain: The chain.
        examples: They give seed, device and journal.
        n: How many.
        steps: Number of sampling steps; None is the trained K.
        last: Whether the last step is a ``draw``, as all before it, or its ``mean`` is taken.

    Raises:
        DataError: The mean is asked for, and the last step has none.
        TypeError: The states are not tensors of the shape of an example.
        NonFiniteError: A sample is not finite.
    """
    return _drawn(chain, examples, n, steps, last)[0]


def draws_and_means(chain: Chain, examples: Examples, n: int, steps: int | None = None) -> tuple[Tensor, Tensor | None]:
    """Samples of a chain, and the means of their last steps if they have any, [n, *event] each.

    Arguments:
        chain: The chain.
        examples: They give seed, device and journal.
        n: How many.
        steps: Number of sampling steps; None is the trained K.

    Raises:
        TypeError: The states are not tensors of the shape of an example.
        NonFiniteError: A sample is not finite.
    """
    draws, *means = _drawn(chain, examples, n, steps, None)
    return draws, means[0] if means else None


def _drawn(chain: Chain, examples: Examples, n: int, steps: int | None, last: Last | None) -> Tensor:
    """Draws, means, or both where there are means: [1 or 2, n, *event]."""
    blocks = [partial(_block, chain, examples, start, min(BLOCK, n - start), steps, last) for start in range(0, n, BLOCK)]
    samples = torch.cat(list(examples.journal.keep_each(blocks)), 1).to(examples.device)
    _require_finite(samples.flatten(0, 1), "samples")
    return samples


def ending(last: Last) -> str:
    """What samples are called that end so."""
    return "samples" if last == "draw" else "samples ending in a mean"


def _require_finite(vectors: Tensor, name: str) -> None:
    broken = len(vectors) - int(vectors.flatten(1).isfinite().all(1).sum())
    if broken:
        raise NonFiniteError(f"{broken} of {len(vectors)} {name} are not finite numbers")


def drawn_conditions(examples: Examples, n: int, *place: int | str) -> Any:
    """What samples are conditioned on: as training examples are, drawn at random; None where nothing is given.

    Arguments:
        examples: They give data, seed and device.
        n: How many.
        place: What the samples are for.
    """
    data = examples.data
    if data.conditions(1) is None:
        return None
    index = integers(0, len(data.split("train")) - 1, n, "cpu", seeded("cpu", examples.seed, "conditions", *place))
    return data.batch("train", index, seeded(examples.device, examples.seed, "conditions", *place), examples.device).condition


def _block(chain: Chain, examples: Examples, start: int, n: int, steps: int | None, last: Last | None) -> Tensor:
    poll()
    data, source = examples.data, seeded(examples.device, examples.seed, "samples", start)
    samples = chain.sample(n, steps=steps, condition=drawn_conditions(examples, n, start), source=source)
    if last == "mean" and samples.mean is None:
        raise DataError("the last step of this chain has no mean; take draws")
    found = [state for end, state in (("draw", samples.state), ("mean", samples.mean)) if last in (None, end) and state is not None]
    if not all(isinstance(state, Tensor) and tuple(state.shape[1:]) == data.shape for state in found):
        raise TypeError("samples are compared with data, and so must be tensors of the shape of an example")
    return torch.stack(found).cpu()


def features(kind: Kind, examples: Examples) -> Features:
    """What states are compared by.

    Arguments:
        kind: ``pixels``, the states themselves, or ``classifier``, the hidden layer of a small one.
        examples: On the data.

    Raises:
        DataError: ``classifier``, and the data has no labels.
    """
    if kind == "pixels":
        return lambda states: states.flatten(1).double()
    network = reader(examples, Training())[:-1]
    return lambda states: torch.cat([network(part).double() for part in states.split(READ)])


def blocks_of(examples: Examples, found: Features) -> Iterator[Tensor]:
    """Features of examples, in blocks."""
    for batch in examples.batches(READ):
        poll()
        yield found(batch.origin)


@attrs.frozen(kw_only=True)
class Sampling:
    """What is compared, and by what.

    Arguments:
        samples: Number of samples.
        steps: Number of sampling steps; None is the trained K.
        features: See :func:`features`.
        last: See :func:`draw`.
    """

    samples: int = 1000
    steps: int | None = None
    features: Kind = "pixels"
    last: Last = "draw"

    @property
    def words(self) -> str:
        """What the features are, and of what."""
        features = "pixels" if self.features == "pixels" else "features of a small classifier"
        return features if self.last == "draw" else f"{features}, {ending(self.last)}"


class Comparing(OfSamples):
    """An estimator that compares samples with data.

    Attributes:
        sampling: What is compared.
    """

    sampling: Sampling

    @property
    @abstractmethod
    def least(self) -> int:
        """How many examples there must be of the split and of the training data."""

    @property
    def steps(self) -> int | None:
        return self.sampling.steps

    @property
    def last(self) -> Last:
        return self.sampling.last

    def check(self, chain: Chain, examples: Examples) -> None:
        super().check(chain, examples)
        if self.sampling.features == "classifier":
            labels_of(examples.data, "train")
        for split, size in ((examples.split, len(examples)), ("train", len(examples.data.split("train")))):
            if size < self.least:
                raise DataError(f"{self.least} examples or more are needed of the {split} split, not {size}")


@attrs.frozen(kw_only=True, eq=False)
class Sets:
    """Three sets of feature vectors, float64.

    Arguments:
        samples: Of the chain, [m, d].
        held_out: Of the examples that the figure is about, [n, d].
        training: Of training data, as many as there are samples, or all.
    """

    samples: Tensor
    held_out: Tensor
    training: Tensor


def drawn_sets(chain: Chain, examples: Examples, sampling: Sampling) -> Sets:
    """Draws samples, and takes data to compare them with.

    Arguments:
        chain: The chain.
        examples: The held-out data.
        sampling: What is wanted.

    Raises:
        NonFiniteError: A sample or its features are not finite.
    """
    found = features(sampling.features, examples)
    training = examples.data.examples("train", sampling.samples, seed=examples.seed, device=examples.device)
    samples = found(draw(chain, examples, sampling.samples, sampling.steps, sampling.last))
    _require_finite(samples, "samples, as features,")
    return Sets(
        samples=samples,
        held_out=torch.cat(list(blocks_of(examples, found))),
        training=torch.cat(list(blocks_of(training, found))),
    )
