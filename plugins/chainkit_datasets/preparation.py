r"""From stored values to model units, the same for every dataset of quantised values.

With values v = 0..L-1 and a divisor c:

- scaled: x = v / c, masses on a lattice; a density of x is unbounded, so there are no bits per dimension;
- dequantised: x = (v + u) / c with c = L and u uniform on [0, 1). Then
  :math:`P(v) = \int_{bin} p(x) dx`, and by Jensen's inequality E log p(x) + log w with w = 1/c is a
  lower bound of log P(v) (the infusion paper evaluates so: scaling by 1/256, noise of width 1/256);
- binarised: x in {0, 1} with P(x = 1) = v / c, drawn once or in every batch, or x = [v / c > threshold].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from chainkit.capabilities import BinaryStates, RealStates
from chainkit.data import Data, Split
from chainkit.preparation import Preparation
from chainkit.random import Source, seeded, uniform
from chainkit_datasets.configs import QuantisedConfig

ROWS = 4096


class Given(Preparation):
    """Values that are in model units already.

    Arguments:
        words: What was done to them.
        binary: Whether they are zeros and ones.
    """

    def __init__(self, words: str, *, binary: bool = False) -> None:
        self.states = BinaryStates if binary else RealStates
        self.bin_width = 1.0 if binary else None
        self.words = words

    def __call__(self, raw: Tensor, source: Source) -> Tensor:
        return raw.float()


class Scaled(Preparation):
    """x = v / c, or dequantised x = (v + u) / c, in [0, 1].

    Arguments:
        scale: c, above 0.
        dequantize: Whether u is uniform on [0, 1), drawn from the source of each batch, or 0.
    """

    def __init__(self, scale: int, *, dequantize: bool = False) -> None:
        self.scale = scale
        self.dequantize = dequantize
        self.bin_width = 1 / scale if dequantize else None
        self.words = f"scaled by 1/{scale}" + (f", uniform noise of width 1/{scale}" if dequantize else "")

    def __call__(self, raw: Tensor, source: Source) -> Tensor:
        values = raw.to(torch.float32, copy=True)
        if self.dequantize:
            values = uniform(values, source).add_(values)
        if self.scale & (self.scale - 1):
            return values.div_(self.scale)
        return values.mul_(1 / self.scale)  # as exact for a power of two, and takes half the time


class Thresholded(Preparation):
    """x = [v / c > threshold].

    Arguments:
        scale: c, above 0.
        threshold: In [0, 1].
    """

    states = BinaryStates
    bin_width = 1.0

    def __init__(self, scale: int, threshold: float) -> None:
        self.scale = scale
        self.threshold = threshold
        self.words = f"binary: 1 where {_rate(scale)} exceeds {threshold:g}"

    def __call__(self, raw: Tensor, source: Source) -> Tensor:
        return (raw.float() / self.scale > self.threshold).float()


class DynamicallyBinarised(Preparation):
    """x = 1 with probability v / c, drawn from the source of each batch.

    Arguments:
        scale: c, at least the largest value.
    """

    states = BinaryStates
    bin_width = 1.0

    def __init__(self, scale: int) -> None:
        self.scale = scale
        self.words = f"binary: 1 with probability {_rate(scale)}, drawn in every batch"

    def __call__(self, raw: Tensor, source: Source) -> Tensor:
        rate = raw.float() / self.scale
        return (uniform(rate, source) < rate).float()


def _rate(scale: int) -> str:
    return "the value" if scale == 1 else f"value / {scale}"


def binarise_once(values: Tensor, scale: int, seed: int, split: str) -> Tensor:
    """Draws x = 1 with probability v / c for every example, uint8.

    Arguments:
        values: v, [N, *shape], on the CPU; read a few thousand rows at a time.
        scale: c, at least the largest value.
        seed: Seed of the draws, which depend on it, on the split and on the position in it alone.
        split: Name of the split.
    """
    draw, source = DynamicallyBinarised(scale), seeded("cpu", seed, "binarise", split)
    drawn = torch.empty(values.shape, dtype=torch.uint8)
    for block, out in zip(values.split(ROWS), drawn.split(ROWS), strict=True):
        out.copy_(draw(block, source))
    return drawn


def _changed(splits: Mapping[str, Split], change: Callable[[str, Tensor], Tensor]) -> dict[str, Split]:
    return {name: Split(values=change(name, split.values), labels=split.labels) for name, split in splits.items()}


def prepare(
    name: str, splits: Mapping[str, Split], config: QuantisedConfig, classes: int | None = None, *, scale: int | None = None
) -> Data:
    """A dataset of quantised values, prepared as its settings say.

    Arguments:
        name: For tables.
        splits: Values [N, *shape] as they are stored, 0..L-1.
        config: The settings.
        classes: Number of classes if labels condition the chain, else None.
        scale: c where it is not the setting's: 1 for rates that lie in [0, 1] already.
    """
    divisor = scale or config.scale
    if config.flatten:
        splits = _changed(splits, lambda _, values: values.reshape(len(values), -1))
    preparation: Preparation
    if config.binarize == "static":
        seed = config.binarize_seed
        splits = _changed(splits, lambda split, values: binarise_once(values, divisor, seed, split))
        preparation = Given(f"binary: 1 with probability {_rate(divisor)}, drawn once per example, seed {seed}", binary=True)
    elif config.binarize == "dynamic":
        preparation = DynamicallyBinarised(divisor)
    elif config.binarize == "threshold":
        preparation = Thresholded(divisor, config.threshold)
    else:
        preparation = Scaled(divisor, dequantize=config.dequantize) if divisor != 1 else Given("as it is")
    return Data(name, splits, preparation, classes)
