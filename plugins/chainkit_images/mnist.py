"""MNIST and Fashion-MNIST, four IDX files each, read by torchvision."""

from __future__ import annotations

import struct
from math import prod
from pathlib import Path

from torch import Tensor

from chainkit.component import Context
from chainkit.data import Data
from chainkit.errors import DataError
from chainkit_images.configs import FashionMnistConfig, MnistConfig, TorchvisionConfig
from chainkit_images.source import data_root, obtained, split_off, torchvision_datasets

FILES = [f"{part}-{content}" for part in ("train", "t10k") for content in ("images-idx3-ubyte", "labels-idx1-ubyte")]


SIZE = (28, 28)


def check_idx(path: Path) -> tuple[int, ...]:
    """Makes sure that an IDX file of bytes is as long as its header promises.

    The header is two zero bytes, the type (8: unsigned bytes), the number of axes, and the length
    of each axis as a big-endian 32-bit integer.

    Returns:
        The length of each axis.

    Raises:
        DataError: It is not an IDX file, or not of the right length.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        header = file.read(4)
        axes = header[3] if len(header) == 4 else 0
        lengths = file.read(4 * axes)
    if header[:3] != b"\x00\x00\x08" or not 1 <= axes <= 3 or len(lengths) < 4 * axes:
        raise DataError(f"{path}: not an IDX file of bytes; delete it, to download it again")
    shape: tuple[int, ...] = struct.unpack(f">{axes}I", lengths)
    wanted = 4 + 4 * axes + prod(shape)
    if size != wanted:
        raise DataError(f"{path}: has {size} bytes, and its header promises {wanted}; delete it, to download it again")
    return shape


def _check_pairs(folder: Path) -> None:
    """Makes sure that the files that are there hold images of the right size, and a label for each."""
    shapes = {path: check_idx(path) for path in (folder / file for file in FILES) if path.exists()}
    for images, labels in (FILES[:2], FILES[2:]):
        image, label = shapes.get(folder / images), shapes.get(folder / labels)
        if image is not None and image[1:] != SIZE:
            raise DataError(f"{folder / images}: holds an array of shape {image}, not images of 28x28 pixels")
        if image is not None and label is not None and label != image[:1]:
            raise DataError(f"{folder / labels}: holds {label[0]} labels for {image[0]} images")


def build_mnist(config: MnistConfig, context: Context) -> Data:
    """MNIST, [1, 28, 28].

    Raises:
        MissingPackage: torchvision cannot be imported.
        DataError: The data is absent or damaged.
    """
    return _build(config, "MNIST", "mnist")


def build_fashion_mnist(config: FashionMnistConfig, context: Context) -> Data:
    """Fashion-MNIST, [1, 28, 28].

    Raises:
        MissingPackage: torchvision cannot be imported.
        DataError: The data is absent or damaged.
    """
    return _build(config, "FashionMNIST", "fashion-mnist")


def _build(config: TorchvisionConfig, kind: str, name: str) -> Data:
    read, root = getattr(torchvision_datasets(), kind), data_root(config.root)
    folder = root / kind / "raw"
    _check_pairs(folder)

    def part(train: bool) -> tuple[Tensor, Tensor]:
        dataset = obtained(
            lambda: read(root, train=train, download=config.download), kind, folder, ", ".join(FILES), download=config.download
        )
        return dataset.data.unsqueeze(1), dataset.targets

    return split_off(name, part(True), part(False), config)
