"""Where data lies, and how torchvision is asked for it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor

from chainkit.data import Data, Split
from chainkit.errors import DataError
from chainkit.packages import imported
from chainkit_datasets.preparation import prepare
from chainkit_images.configs import TorchvisionConfig


def data_root(root: str | None) -> Path:
    """The folder of the data: the setting, else the environment variable CHAINKIT_DATA, else ~/.cache/chainkit/data."""
    return Path(root or os.environ.get("CHAINKIT_DATA") or "~/.cache/chainkit/data").expanduser()


def torchvision_datasets() -> ModuleType:
    """``torchvision.datasets``.

    Raises:
        MissingPackage: torchvision cannot be imported, as where it was built for another torch.
    """
    remedy = "install the build that goes with the installed torch, see pytorch.org; digits, patches and arrays do without it"
    return imported("torchvision.datasets", remedy)


def obtained(make: Callable[[], Any], name: str, folder: Path, files: str, *, download: bool) -> Any:
    """What torchvision reads, downloading it first if that is wanted.

    Arguments:
        make: Makes the torchvision dataset.
        name: Of the dataset.
        folder: Where its files lie.
        files: What they are, in words.
        download: Whether ``make`` downloads.

    Raises:
        DataError: The data is absent and was not, or could not be, downloaded; or it is damaged.
    """
    try:
        with redirect_stdout(sys.stderr):
            return make()
    except (RuntimeError, OSError, ValueError, AssertionError) as error:
        text = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        tried = f"could not be downloaded ({text[-1].strip()})" if download else "download is false"
        raise DataError(
            f"{folder}: {name} is absent or damaged, and {tried}: put {files} there, or set root or CHAINKIT_DATA to where they are"
        ) from error


def split_off(name: str, train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], config: TorchvisionConfig) -> Data:
    """The dataset whose last training examples are for validation.

    Arguments:
        name: For tables.
        train: Values and labels.
        test: Values and labels.
        config: The settings.

    Raises:
        DataError: There are fewer training examples than are wanted for validation.
    """
    left = max(len(train[0]) - config.valid, 0)
    splits = {"train": Split(values=train[0][:left], labels=train[1][:left])}
    if config.valid:
        splits["valid"] = Split(values=train[0][left:], labels=train[1][left:])
    splits["test"] = Split(values=test[0], labels=test[1])
    return prepare(name, splits, config, 10 if config.labels else None)
