"""The keys of the image datasets. This module does not import torch."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import attrs
from attrs import field

from chainkit.config import at_least, between
from chainkit_datasets.configs import LabelledPixelConfig, PixelConfig, leaves_training_examples, with_inherited_keys


def _leaves_two(instance: Any, attribute: Any, value: int) -> None:
    if value > instance.TRAIN - 2:
        raise ValueError(f"leaves no training examples: there are {instance.TRAIN}, and valid is {value}")


@attrs.frozen(kw_only=True)
class TorchvisionConfig(LabelledPixelConfig):
    """Keys of the datasets that torchvision downloads and reads.

    Arguments:
        valid: Number of validation examples, the last of the training images, 0 or more.
        root: Folder of the data, as torchvision lays it out; left out, the environment variable
            CHAINKIT_DATA, else ~/.cache/chainkit/data.
        download: Downloads what is absent.
    """

    TRAIN: ClassVar[int] = 60_000

    valid: int = field(default=10_000, validator=[at_least(0), _leaves_two])
    root: str | None = None
    download: bool = True


@with_inherited_keys
@attrs.frozen(kw_only=True)
class MnistConfig(TorchvisionConfig):
    """MNIST: 60 000 training and 10 000 test images of handwritten digits, 28x28 grey pixels.

    Arguments:
    """


@with_inherited_keys
@attrs.frozen(kw_only=True)
class FashionMnistConfig(TorchvisionConfig):
    """Fashion-MNIST: 60 000 training and 10 000 test images of clothes, 28x28 grey pixels.

    Arguments:
    """


@with_inherited_keys
@attrs.frozen(kw_only=True)
class CifarConfig(TorchvisionConfig):
    """CIFAR-10: 50 000 training and 10 000 test photographs, 32x32 pixels of three colours.

    Arguments:
    """

    TRAIN: ClassVar[int] = 50_000


@with_inherited_keys
@attrs.frozen(kw_only=True)
class CelebAConfig(PixelConfig):
    """CelebA, aligned: 202 599 photographs of faces, split as its partition file says.

    Each is scaled from 218x178 to 78x64 (rows x columns) and cropped to its middle 64x64 (walkback
    paper, section 5). The folder ``celeba`` of the root holds ``img_align_celeba/*.jpg`` or
    ``img_align_celeba.zip``, and ``list_eval_partition.txt``, put there by hand.

    Arguments:
        root: Folder that holds ``celeba``; left out, the environment variable CHAINKIT_DATA, else
            ~/.cache/chainkit/data.
    """

    root: str | None = None


@with_inherited_keys
@attrs.frozen(kw_only=True)
class ImageFolderConfig(LabelledPixelConfig):
    """The images of a folder and its sub-folders; with labels, every sub-folder is a class.

    Each is scaled so that its shorter side has ``size`` pixels, and cropped to its middle square.

    Arguments:
        path: The folder.
        size: Rows and columns, 2 or more.
        channels: ``grey`` (one channel) or ``colour`` (three).
        valid: Fraction of the images for validation, 0 or more.
        test: Fraction of the images for testing, 0 or more; with ``valid`` below 1.
        seed: Seed of the split, 0 or more.
    """

    path: str
    size: int = field(default=64, validator=at_least(2))
    channels: Literal["grey", "colour"] = "colour"
    valid: float = field(default=0.1, validator=[between(0, 1), leaves_training_examples])
    test: float = field(default=0.1, validator=[between(0, 1), leaves_training_examples])
    seed: int = field(default=0, validator=at_least(0))
