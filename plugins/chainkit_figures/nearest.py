"""Samples beside the training examples that are nearest to them (infusion paper, figure 3.5): is the data copied?"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from chainkit.chain import Samples
from chainkit.data import Data
from chainkit.random import seeded
from chainkit_estimators.distances import nearest
from chainkit_figures.look import Look
from chainkit_figures.picture import Picture
from chainkit_figures.sequence import sequence

NEIGHBOURS = 3
BLOCK = 2000
"""Training examples held at once."""


def nearest_examples(state: Tensor, data: Data, k: int) -> tuple[Tensor, Tensor]:
    """The training examples nearest to samples, of all there are.

    Arguments:
        state: Samples, [n, *event], on the CPU.
        data: The data.
        k: How many for each sample.

    Returns:
        Euclidean distances in model units, ascending, [n, k], and the examples, [n, k, *event].
    """

    def batch(index: Tensor) -> Tensor:
        return data.batch("train", index, seeded("cpu", 0, "nearest", int(index[0]))).origin.float()

    def blocks() -> Iterator[Tensor]:
        for index in torch.arange(len(data.split("train"))).split(BLOCK):
            yield batch(index).flatten(1)

    squares, numbers = nearest(state.float().flatten(1), blocks(), k)
    found = torch.stack([batch(number[None])[0] for number in numbers.flatten()])
    return squares.sqrt(), found.unflatten(0, numbers.shape)


def drawn_nearest(samples: Samples, data: Data, look: Look) -> Picture | None:
    """One row per sample: the mean of its last step (itself where there is none) and its nearest training examples.

    None for points in the plane, which a scatter shows better, and where samples do not look like data.

    Arguments:
        samples: The samples, on the CPU.
        data: The data.
        look: How states are shown.
    """
    state = samples.mean if isinstance(samples.mean, Tensor) else samples.state
    if look.kind not in ("images", "rows") or not isinstance(state, Tensor) or tuple(state.shape[1:]) != data.shape:
        return None
    state, size = state[: look.shown], len(data.split("train"))
    distances, found = nearest_examples(state, data, min(NEIGHBOURS, size))
    kind = "mean" if isinstance(samples.mean, Tensor) else "sample"
    named = [(kind, state), *[(f"no. {place + 1}", each) for place, each in enumerate(found.unbind(1))]]
    marks = [f"{distance:.2f}" for distance in distances[:, 0].tolist()]
    side = "distance to the nearest" if look.kind == "images" else "sample"
    picture = sequence(named, look, f"{kind}s and their nearest\ntraining examples", side=side, marks=marks)
    picture.title = "Samples beside their nearest training examples"
    picture.words = (
        f"Each row: the {kind} of one sample, then the nearest of {size} training examples of {data.name}, by Euclidean distance in model "
        f"units, {float(distances[:, 0].mean()):.3g} on average to the first. A chain that copies shows the same picture twice."
    )
    return picture
