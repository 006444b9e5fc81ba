r"""A dataset from arrays: handwritten digits, 8x8 pixels of 17 grey levels; they come with scikit-learn.

.. math:: x = (v + u) / 17, \qquad v = 0..16, \quad u \sim \mathrm{Uniform}[0, 1)

so that a density of x bounds the probability of the grey levels, which makes bits per dimension meaningful.
"""

from __future__ import annotations

import torch
from torch import Tensor

from chainkit import Context, Data
from chainkit.capabilities import RealStates
from chainkit.data import Split
from chainkit.packages import imported
from chainkit.preparation import Preparation
from chainkit.random import Source, seeded, uniform
from chainkit_placeholder.configs import DatasetConfig

LEVELS = 17


class Dequantised(Preparation):
    """From grey levels to [0, 1], with noise drawn anew for every batch."""

    states = RealStates
    words = f"scaled by 1/{LEVELS}, uniform noise of width 1/{LEVELS}"
    bin_width = 1 / LEVELS

    def __call__(self, raw: Tensor, source: Source) -> Tensor:
        values = raw.float()
        return (values + uniform(values, source)) / LEVELS


def arrays(digits: list[int]) -> Tensor:
    """The examples, uint8 [N, 1, 8, 8]; put your own arrays in their place.

    Arguments:
        digits: The classes to keep.

    Raises:
        MissingPackage: scikit-learn cannot be imported.
    """
    source = imported("sklearn.datasets", "pip install scikit-learn").load_digits()
    kept = torch.isin(torch.from_numpy(source.target), torch.tensor(digits))
    return torch.from_numpy(source.images).to(torch.uint8).unsqueeze(1)[kept]


def build(config: DatasetConfig, context: Context) -> Data:
    """The dataset that a recipe describes, split at random by the seed."""
    values = arrays(config.digits)
    tenth = len(values) // 10
    order = torch.randperm(len(values), generator=seeded("cpu", config.seed, "split"))
    indices = zip(("train", "valid", "test"), order.split([len(values) - 2 * tenth, tenth, tenth]), strict=True)
    return Data("some digits", {name: Split(values=values[index]) for name, index in indices}, Dequantised())
