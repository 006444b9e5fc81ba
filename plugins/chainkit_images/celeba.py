"""CelebA (Liu et al. 2015), aligned, as the walkback paper prepares it: 218x178 to 78x64, middle 64x64.

Its automatic download often fails, so it is put in place by hand.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chainkit.component import Context
from chainkit.data import SPLITS, Data, Split
from chainkit.errors import DataError
from chainkit_datasets.preparation import prepare
from chainkit_images.cache import Picture, decoded_once
from chainkit_images.configs import CelebAConfig
from chainkit_images.source import data_root

if TYPE_CHECKING:
    from PIL.Image import Image

PARTITION = "list_eval_partition.txt"
IMAGES = "img_align_celeba"
ALIGNED = (178, 218)
"""Columns and rows of the aligned images."""
SCALED = (64, 78)
"""Columns and rows that they are scaled to, antialiased and bilinear."""
CROP = (0, 7, 64, 71)
"""Left, top, right and bottom of the middle 64x64 of those."""


def absent(folder: Path, missing: str) -> DataError:
    """What to say, on one line, where something is missing."""
    return DataError(
        f"{folder}: {missing} is missing: download 'Align&Cropped Images' and the partition file by hand from "
        f"https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html and put {IMAGES}/*.jpg or {IMAGES}.zip, and {PARTITION}, "
        "there; or set root or CHAINKIT_DATA to the folder that holds celeba"
    )


def read_partition(path: Path) -> dict[str, list[str]]:
    """File names by split from lines such as ``000001.jpg 0``; 0 is for training, 1 for validation, 2 for testing.

    Arguments:
        path: The partition file.

    Raises:
        DataError: A line is something else.
    """
    names: dict[str, list[str]] = {split: [] for split in SPLITS}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        match line.split():
            case [name, ("0" | "1" | "2") as part]:
                names[SPLITS[int(part)]].append(name)
            case []:
                continue
            case _:
                raise DataError(f"{path}: line {number} is not a file name and 0, 1 or 2: {line[:80]!r}")
    return names


def _pictures(folder: Path, names: Sequence[str]) -> list[Picture]:
    """The images in the order of their names, from the folder or the archive."""
    if (folder / IMAGES).is_dir():
        paths = [folder / IMAGES / name for name in names]
        for path in paths:
            if not path.is_file():
                raise absent(folder, f"{IMAGES}/{path.name}")
        return [Picture(name=str(path), read=path.read_bytes) for path in paths]
    file = folder / f"{IMAGES}.zip"
    if not file.is_file():
        raise absent(folder, IMAGES)
    try:
        archive = zipfile.ZipFile(file)
    except zipfile.BadZipFile as error:
        raise DataError(f"{file}: damaged, {error}") from error
    members = set(archive.namelist())
    for name in names:
        if f"{IMAGES}/{name}" not in members:
            raise DataError(f"{file}: {IMAGES}/{name} is not in it")
    return [Picture(name=f"{file}: {name}", read=_Member(archive, f"{IMAGES}/{name}")) for name in names]


class _Member:
    """Reads one file of an archive.

    Arguments:
        archive: The archive.
        name: The file.
    """

    def __init__(self, archive: zipfile.ZipFile, name: str) -> None:
        self.archive = archive
        self.name = name

    def __call__(self) -> bytes:
        return self.archive.read(self.name)


def scaled_and_cropped(picture: Picture) -> Image:
    """The middle 64x64 of an aligned image scaled to 78x64.

    Raises:
        DataError: The image is damaged or has another size.
    """
    from PIL.Image import Resampling

    image = picture.decode()
    if image.size != ALIGNED:
        columns, rows = image.size
        raise DataError(f"{picture.name}: has {rows}x{columns} pixels, not the {ALIGNED[1]}x{ALIGNED[0]} of the aligned images")
    return image.resize(SCALED, Resampling.BILINEAR).crop(CROP)


def build_celeba(config: CelebAConfig, context: Context) -> Data:
    """CelebA, [3, 64, 64].

    The images are decoded once, into ``celeba/aligned-64x64-<hash of the partition>.npy``. Delete
    that file if they change.

    Raises:
        MissingPackage: Pillow cannot be imported.
        DataError: Files are absent (the message says how to get them) or damaged.
    """
    folder = data_root(config.root) / "celeba"
    partition = folder / PARTITION
    if not partition.is_file():
        raise absent(folder, PARTITION)
    names = read_partition(partition)
    every = [name for split in SPLITS for name in names[split]]
    digest = hashlib.blake2b("\n".join(every).encode(), digest_size=6).hexdigest()
    cache = folder / f"aligned-64x64-{digest}.npy"
    values = decoded_once(cache, lambda: _pictures(folder, every), scaled_and_cropped, (len(every), 3, 64, 64))
    parts = zip(SPLITS, values.split([len(names[split]) for split in SPLITS]), strict=True)
    return prepare("celeba", {split: Split(values=part) for split, part in parts}, config)
