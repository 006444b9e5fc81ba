"""The keys of the TensorBoard observer. This module does not import torch."""

from __future__ import annotations

import attrs
from attrs import field

from chainkit.config import not_empty


@attrs.frozen(kw_only=True)
class TensorboardConfig:
    """Writes event files for ``tensorboard --logdir``.

    Arguments:
        directory: Where they go, seen from the run directory.
    """

    directory: str = field(default="tensorboard", validator=not_empty)
