"""CIFAR-10, read by torchvision.

Its files are pickles, so none is opened before its md5 is that of the official file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from chainkit.component import Context
from chainkit.data import Data
from chainkit.errors import DataError
from chainkit.packages import imported
from chainkit_images.configs import CifarConfig
from chainkit_images.source import data_root, obtained, split_off, torchvision_datasets


def _damaged(kind: Any, folder: Path) -> list[Path]:
    """Files that are there and not the official ones."""
    intact = imported("torchvision.datasets.utils", "reinstall torchvision").check_integrity
    official = [*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])]
    paths = [(folder / name, md5) for name, md5 in official]
    return [path for path, md5 in paths if path.exists() and not intact(path, md5)]


def build_cifar(config: CifarConfig, context: Context) -> Data:
    """CIFAR-10, [3, 32, 32].

    Raises:
        MissingPackage: torchvision cannot be imported.
        DataError: The data is absent or damaged.
    """
    kind, root = torchvision_datasets().CIFAR10, data_root(config.root)
    folder = root / kind.base_folder
    damaged = _damaged(kind, folder)
    if damaged and not config.download:
        raise DataError(f"{damaged[0]}: damaged, its md5 is not the official one; delete it, to download it again")

    def part(train: bool) -> tuple[Tensor, Tensor]:
        dataset = obtained(
            lambda: kind(root, train=train, download=config.download),
            "CIFAR-10",
            folder,
            "the unpacked cifar-10-python.tar.gz",
            download=config.download,
        )
        # torchvision gives a view with the channels last; this undoes it without a copy.
        return torch.from_numpy(dataset.data).permute(0, 3, 1, 2), torch.tensor(dataset.targets)

    return split_off("cifar-10", part(True), part(False), config)
