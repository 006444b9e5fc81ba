"""scikit-learn's handwritten digits: 1797 images of 8x8 pixels, 17 grey levels; they ship with scikit-learn."""

from __future__ import annotations

import torch

from chainkit.component import Context
from chainkit.data import Data, Split
from chainkit.packages import imported
from chainkit.random import seeded
from chainkit_datasets.configs import DigitsConfig
from chainkit_datasets.preparation import prepare


def build_digits(config: DigitsConfig, context: Context) -> Data:
    """The digits, [1, 8, 8], values 0..16 kept as uint8, split at random by the seed.

    Raises:
        MissingPackage: scikit-learn cannot be imported.
    """
    source = imported("sklearn.datasets", "pip install scikit-learn").load_digits()
    values = torch.from_numpy(source.images).to(torch.uint8).unsqueeze(1)
    labels = torch.from_numpy(source.target).long()
    order = torch.randperm(len(values), generator=seeded("cpu", config.seed, "digits"))
    sizes = [len(values) - config.valid - config.test, config.valid, config.test]
    chosen = zip(("train", "valid", "test"), order.split(sizes), strict=True)
    splits = {split: Split(values=values[index], labels=labels[index]) for split, index in chosen if len(index)}
    return prepare("digits", splits, config, 10 if config.labels else None)
