"""Which pixels are known: a half of the image, or a mask from a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.image import imread
from torch import Tensor

from chainkit.errors import DataError, RecipeError
from chainkit_figures.images import image_shape

HALVES = ("left", "right", "top", "bottom")


def known_mask(words: str, shape: Sequence[int]) -> Tensor:
    """The mask of known pixels, boolean [*shape].

    Arguments:
        words: ``left``, ``right``, ``top`` or ``bottom``, the half that is known, of odd sizes the smaller
            one; or a .png file, known where it is brighter than grey, or a .npy file, known where it is not 0.
        shape: Shape of one example, which can be seen as an image.

    Raises:
        RecipeError: The examples are no images, or the words name neither a half nor such a file.
        DataError: The file cannot be read, or is not of the size of the image.
    """
    image = image_shape(shape)
    if image is None:
        raise RecipeError(f"only images are completed, and examples of shape {'x'.join(map(str, shape))} are none")
    mask = _half(words, *image[1:]) if words in HALVES else _from_file(Path(words), image)
    return mask.expand(image).reshape(tuple(shape))


def _half(words: str, rows: int, columns: int) -> Tensor:
    row, column = torch.arange(rows)[:, None].expand(rows, columns), torch.arange(columns).expand(rows, columns)
    return {
        "left": column < columns // 2,
        "right": column >= columns - columns // 2,
        "top": row < rows // 2,
        "bottom": row >= rows - rows // 2,
    }[words]


def _from_file(path: Path, image: tuple[int, int, int]) -> Tensor:
    if path.suffix not in (".png", ".npy"):
        raise RecipeError(f"--known is {', '.join(HALVES)}, or a .png or .npy file, not {str(path)!r}")
    try:
        mask = _bright(imread(path)) if path.suffix == ".png" else _stored(path) != 0
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    except (ValueError, SyntaxError, EOFError) as error:
        raise DataError(f"{path}: not a mask ({error})") from error
    if mask.shape not in (image, image[1:]):
        raise DataError(f"{path}: of size {'x'.join(map(str, mask.shape))}, where images are {image[1]}x{image[2]}")
    return torch.from_numpy(mask)


def _stored(path: Path) -> np.ndarray:
    with path.open("rb") as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _bright(pixels: np.ndarray) -> np.ndarray:
    """Where a picture, grey or in colours with or without transparency, is brighter than grey."""
    return (pixels if pixels.ndim == 2 else pixels[..., :3].mean(-1)) > 0.5
