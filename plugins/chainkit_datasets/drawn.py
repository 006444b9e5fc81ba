"""Datasets that are drawn at random: every split from random numbers of its own."""

from __future__ import annotations

from collections.abc import Callable

import torch

from chainkit.data import Split
from chainkit.random import seeded
from chainkit_datasets.drawn_configs import DrawnConfig


def draw_splits(name: str, config: DrawnConfig, draw: Callable[[str, int, torch.Generator], Split]) -> dict[str, Split]:
    """The splits that are wanted.

    Arguments:
        name: Name of the dataset, part of the seed.
        config: Sizes and seed.
        draw: Gives n examples of a split from a generator, as ``draw(split, n, generator)``.
    """
    sizes = {"train": config.n, "valid": config.valid, "test": config.test}
    return {split: draw(split, n, seeded("cpu", config.seed, name, split)) for split, n in sizes.items() if n}
