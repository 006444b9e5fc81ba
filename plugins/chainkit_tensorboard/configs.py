"""The keys of the TensorBoard observer. This module does not import torch."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

import attrs
from attrs import field

from chainkit.config import not_empty


def _inside(instance: Any, attribute: Any, value: str) -> None:
    path = PurePath(value)
    if path.is_absolute() or ".." in path.parts or "\0" in value:
        raise ValueError(f"must lie in the run directory, which {value!r} does not")


@attrs.frozen(kw_only=True)
class TensorboardConfig:
    """Writes event files for ``tensorboard --logdir``.

    Arguments:
        directory: Where they go, seen from the run directory and inside it.
    """

    directory: str = field(default="tensorboard", validator=[not_empty, _inside])
