"""The keys of the datasets. This module does not import torch.

How values become model units is said by the same keys everywhere (:class:`QuantisedConfig`), and
stands beside every number that is reported.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, TypeVar

import attrs
from attrs import field

from chainkit.config import at_least, between

DIGITS = 1797

Config = TypeVar("Config", bound=type)


def with_inherited_keys(config: Config) -> Config:
    """Appends the keys that a config class inherits to its docstring, so that it documents all of them."""
    for base in config.__mro__[1:]:
        if attrs.has(base):
            _, _, keys = (base.__dict__["__doc__"] or "").partition("Arguments:\n")
            config.__doc__ = f"{(config.__doc__ or '').rstrip()}\n{keys.rstrip()}\n"
    return config


def _fills_unit_interval(instance: Any, attribute: Any, value: bool) -> None:
    """Uniform noise turns bins into an even cover of [0, 1] only where the scale is the number of levels."""
    if value and instance.binarize != "none":
        raise ValueError("must be false for data that is binarised")
    if value and instance.scale != instance.LEVELS:
        raise ValueError(f"needs scale = {instance.LEVELS}, so that bins of width 1/{instance.LEVELS} fill [0, 1]")


@attrs.frozen(kw_only=True)
class QuantisedConfig:
    """Keys of every dataset of quantised values v = 0..L-1.

    Arguments:
        scale: c, the divisor: values become v / c. The largest value, L - 1, to reach 1 exactly; or
            the number of levels, L, which ``dequantize`` needs.
        dequantize: Adds uniform noise of one bin's width afresh in every batch: (v + u) / c, u in
            [0, 1), c = L. Without it a density of the data is unbounded and has no bits per dimension.
        binarize: ``none``; ``threshold``, 1 where v / c exceeds ``threshold``; ``static``, drawn once
            per example with probability v / c; ``dynamic``, so drawn afresh in every batch.
        threshold: Between 0 and 1.
        binarize_seed: Seed of the ``static`` draws, 0 or more; they do not depend on the run's seed.
        flatten: Examples as vectors instead of images [channels, rows, columns].
    """

    LEVELS: ClassVar[int] = 256

    scale: int = 255
    dequantize: bool = field(default=False, validator=_fills_unit_interval)
    binarize: Literal["none", "threshold", "static", "dynamic"] = "none"
    threshold: float = field(default=0.5, validator=between(0, 1))
    binarize_seed: int = field(default=0, validator=at_least(0))
    flatten: bool = False


@attrs.frozen(kw_only=True)
class PixelConfig(QuantisedConfig):
    """Keys of every dataset of 8-bit pixels, v = 0..255."""

    scale: Literal[255, 256] = 255


@attrs.frozen(kw_only=True)
class LabelledPixelConfig(PixelConfig):
    """Keys of every dataset of 8-bit pixels with classes.

    Arguments:
        labels: The chain is conditioned on the class.
    """

    labels: bool = False


def _leaves_some(instance: Any, attribute: Any, value: int) -> None:
    held = instance.valid + instance.test
    if held > DIGITS - 2:
        raise ValueError(f"leaves no training examples: valid + test is {held} of {DIGITS}")


@with_inherited_keys
@attrs.frozen(kw_only=True)
class DigitsConfig(QuantisedConfig):
    """scikit-learn's 1797 handwritten digits, 8x8 pixels of 17 grey levels, v = 0..16.

    Arguments:
        valid: Number of validation examples, 0 or more.
        test: Number of test examples, 0 or more; all others are for training.
        seed: Seed of the choice, 0 or more.
        labels: The chain is conditioned on the class, 0..9.
    """

    LEVELS: ClassVar[int] = 17

    scale: Literal[16, 17] = 16
    valid: int = field(default=200, validator=[at_least(0), _leaves_some])
    test: int = field(default=200, validator=[at_least(0), _leaves_some])
    seed: int = field(default=0, validator=at_least(0))
    labels: bool = False


def leaves_training_examples(instance: Any, attribute: Any, value: float) -> None:
    """The fractions ``valid`` and ``test``, both validated by this, are together below 1."""
    held = instance.valid + instance.test
    if held >= 1:
        raise ValueError(f"leaves no training examples: valid + test is {held:g}")


@with_inherited_keys
@attrs.frozen(kw_only=True)
class ArraysConfig(LabelledPixelConfig):
    """Arrays from a file, examples first.

    An ``.npy`` file holds [N, ...] and stays on disk, mapped into memory; an ``.npz`` file holds
    ``x_train`` and, where wanted, ``x_valid``, ``x_test``, ``y_train``, ``y_valid``, ``y_test``.
    uint8 values are scaled, dequantised and binarised as the keys say; floating point values are
    taken as they are (in [0, 1] if they are to be binarised); Boolean ones are zeros and ones.

    Arguments:
        path: The file.
        valid: Fraction of the training examples, their last, kept for validation where the file has
            no split of that name; 0 keeps none. Below 1.
        test: The same for testing; with ``valid`` below 1. The order of the file is kept.
        layout: What follows the first axis: ``as-is``, ``rows-columns`` (becomes an image of one
            channel) or ``rows-columns-channels`` (becomes [channels, rows, columns]).
    """

    path: str
    valid: float = field(default=0.1, validator=[between(0, 1), leaves_training_examples])
    test: float = field(default=0.1, validator=[between(0, 1), leaves_training_examples])
    layout: Literal["as-is", "rows-columns", "rows-columns-channels"] = "as-is"
