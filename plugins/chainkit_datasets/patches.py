"""Patches of scikit-learn's two sample photographs, which ship with it.

The splits come from different columns of the photographs, so that no pixel is in two of them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from chainkit.component import Context
from chainkit.data import Data, Split
from chainkit.packages import imported
from chainkit.random import integers
from chainkit_datasets.drawn import draw_splits
from chainkit_datasets.drawn_configs import PatchesConfig
from chainkit_datasets.preparation import prepare

COLUMNS = {"train": (0, 448), "valid": (448, 544), "test": (544, 640)}
"""Columns of the 427x640 photographs that each split is cut from."""

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the grey of Rec. 601."""


def photographs(channels: str) -> Tensor:
    """Both photographs, [2, channels, 427, 640], uint8.

    Arguments:
        channels: ``grey`` or ``colour``.

    Raises:
        MissingPackage: scikit-learn or Pillow cannot be imported.
    """
    imported("PIL.Image", "pip install pillow")
    source = imported("sklearn.datasets", "pip install scikit-learn")
    images = torch.stack([torch.from_numpy(image.copy()) for image in source.load_sample_images().images])
    if channels == "grey":
        grey = images.double() @ torch.tensor(LUMA, dtype=torch.float64)
        images = grey.round().to(torch.uint8).unsqueeze(-1)
    return images.permute(0, 3, 1, 2).contiguous()


def build_patches(config: PatchesConfig, context: Context) -> Data:
    """Patches [channels, size, size] from uniform positions."""
    images, size = photographs(config.channels), config.size

    def draw(split: str, n: int, source: torch.Generator) -> Split:
        first, last = COLUMNS[split]
        photograph = integers(0, len(images) - 1, n, "cpu", source)
        row = integers(0, images.shape[2] - size, n, "cpu", source)
        column = integers(first, last - size, n, "cpu", source)
        # One view of all patches, indexed at the positions: nothing but the chosen patches is copied.
        windows = images.unfold(2, size, 1).unfold(3, size, 1)
        return Split(values=windows[photograph, :, row, column].contiguous())

    return prepare("patches", draw_splits("patches", config, draw), config)
