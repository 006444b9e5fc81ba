"""A folder of images."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from chainkit.component import Context
from chainkit.data import SPLITS, Data, Split
from chainkit.errors import DataError
from chainkit.random import seeded
from chainkit_datasets.preparation import prepare
from chainkit_images.cache import Picture, decoded_once
from chainkit_images.configs import ImageFolderConfig

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = {".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}


def image_files(folder: Path) -> list[Path]:
    """The images below a folder, sorted; hidden files and folders are left out.

    Raises:
        DataError: It is not a folder, or there are none.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    found = [path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()]
    shown = sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))
    if not shown:
        raise DataError(f"{folder}: no images in it ({', '.join(sorted(SUFFIXES))})")
    return shown


def middle_square(size: int, mode: str, picture: Picture) -> Image:
    """The middle square of an image, scaled to ``size``, antialiased and bilinear.

    Arguments:
        size: Rows and columns.
        mode: Pillow's, ``L`` or ``RGB``.
        picture: The image.

    Raises:
        DataError: It is damaged.
    """
    from PIL import ImageOps
    from PIL.Image import Resampling

    return ImageOps.fit(picture.decode().convert(mode), (size, size), method=Resampling.BILINEAR)


def _classes(folder: Path, files: list[Path]) -> tuple[Tensor, int]:
    """The class of every image, its first sub-folder, and how many classes there are."""
    for path in files:
        if path.parent == folder:
            raise DataError(f"{path}: labels are wanted, and it is in no sub-folder, which would be its class")
    names = [path.relative_to(folder).parts[0] for path in files]
    order = {name: number for number, name in enumerate(sorted(set(names)))}
    return torch.tensor([order[name] for name in names]), len(order)


def _split_sizes(folder: Path, total: int, config: ImageFolderConfig) -> list[int]:
    valid, test = (max(1, round(total * fraction)) if fraction else 0 for fraction in (config.valid, config.test))
    if total - valid - test < 2:
        raise DataError(f"{folder}: {total} image{'s' * (total != 1)} leave fewer than two to train on")
    return [total - valid - test, valid, test]


def build_image_folder(config: ImageFolderConfig, context: Context) -> Data:
    """The images of a folder, [channels, size, size], split at random by the seed.

    They are decoded once, into a hidden ``.npy`` file in the folder whose name changes with the
    images, the settings and the seed.

    Raises:
        MissingPackage: Pillow cannot be imported.
        DataError: There are no images, or one is damaged.
    """
    folder = Path(config.path).expanduser()
    files = image_files(folder)
    sizes = _split_sizes(folder, len(files), config)
    labels, classes = _classes(folder, files) if config.labels else (None, None)
    order = torch.randperm(len(files), generator=seeded("cpu", config.seed, "image-folder"))
    files = [files[i] for i in order.tolist()]
    stamps = [f"{path.relative_to(folder)}:{(stat := path.stat()).st_size}:{stat.st_mtime_ns}" for path in files]
    digest = hashlib.blake2b("\n".join(stamps).encode(), digest_size=6).hexdigest()
    cache = folder / f".chainkit-{config.size}x{config.size}-{config.channels}-{digest}.npy"
    mode, channels = ("L", 1) if config.channels == "grey" else ("RGB", 3)
    values = decoded_once(
        cache,
        lambda: [Picture(name=str(path), read=path.read_bytes) for path in files],
        partial(middle_square, config.size, mode),
        (len(files), channels, config.size, config.size),
    )
    named = [None] * len(sizes) if labels is None else labels[order].split(sizes)
    parts = zip(SPLITS, values.split(sizes), named, strict=True)
    return prepare(folder.name, {split: Split(values=part, labels=own) for split, part, own in parts if len(part)}, config, classes)
