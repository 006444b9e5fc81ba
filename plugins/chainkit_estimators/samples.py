"""What estimators about samples compare: samples of the chain, held-out data and training data, as features.

Samples are drawn in blocks of 500, each with random numbers of its own and kept in the examples'
journal; all estimators of one evaluation that ask for as many see the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Literal, TypeAlias

import attrs
import torch
from torch import Tensor

from chainkit import Chain
from chainkit.data import Examples
from chainkit.errors import DataError, NonFiniteError
from chainkit.interrupt import poll
from chainkit.random import seeded
from chainkit.states import map_state
from chainkit_estimators.reader import Training, reader

BLOCK = 500
READ = 1000

Kind: TypeAlias = Literal["pixels", "classifier"]
Last: TypeAlias = Literal["draw", "mean"]
Features: TypeAlias = Callable[[Tensor], Tensor]
"""From states [n, *event] to float64 [n, d]."""


def draw(chain: Chain, examples: Examples, n: int, steps: int | None = None, last: Last = "draw") -> Tensor:
    """Samples of a chain, [n, *event]; with the conditions that the data gives.

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
    blocks = []
    for start in range(0, n, BLOCK):
        poll()
        places = range(start, min(start + BLOCK, n))
        blocks.append(examples.journal.keep(partial(_block, chain, examples, places, steps, last)).to(examples.device))
    samples = torch.cat(blocks)
    _require_finite(samples, "samples")
    return samples


def ending(last: Last) -> str:
    """What samples are called that end so."""
    return "samples" if last == "draw" else "samples ending in a mean"


def _require_finite(vectors: Tensor, name: str) -> None:
    broken = len(vectors) - int(vectors.flatten(1).isfinite().all(1).sum())
    if broken:
        raise NonFiniteError(f"{broken} of {len(vectors)} {name} are not finite numbers")


def _block(chain: Chain, examples: Examples, places: range, steps: int | None, last: Last) -> Tensor:
    data, device = examples.data, examples.device
    given = data.conditions(places.stop, device)
    condition = None if given is None else map_state(lambda rows: rows[places.start :], given)
    source = seeded(device, examples.seed, "samples", places.start)
    samples = chain.sample(len(places), steps=steps, condition=condition, source=source)
    if last == "mean" and samples.mean is None:
        raise DataError('the last step of this chain has no mean; set last = "draw"')
    state = samples.mean if last == "mean" else samples.state
    if not (isinstance(state, Tensor) and tuple(state.shape[1:]) == data.shape):
        raise TypeError("samples are compared with data, and so must be tensors of the shape of an example")
    return state.cpu()


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


def drawn_sets(chain: Chain, examples: Examples, sampling: Sampling, least: int) -> Sets:
    """Draws samples, and takes data to compare them with.

    Arguments:
        chain: The chain.
        examples: The held-out data.
        sampling: What is wanted.
        least: How many vectors each set must have.

    Raises:
        DataError: There is less data.
        NonFiniteError: A sample or its features are not finite.
    """
    found = features(sampling.features, examples)
    training = examples.data.examples("train", sampling.samples, seed=examples.seed, device=examples.device)
    for split, size in ((examples.split, len(examples)), ("train", len(training))):
        if size < least:
            raise DataError(f"{least} examples or more are needed of the {split} split, not {size}")
    samples = found(draw(chain, examples, sampling.samples, sampling.steps, sampling.last))
    _require_finite(samples, "samples, as features,")
    return Sets(
        samples=samples,
        held_out=torch.cat(list(blocks_of(examples, found))),
        training=torch.cat(list(blocks_of(training, found))),
    )
