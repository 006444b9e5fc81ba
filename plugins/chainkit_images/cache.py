"""Images decoded once: an ``.npy`` file of uint8 beside the data, mapped into memory from then on."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click
import numpy as np
import torch
from torch import Tensor

from chainkit.errors import DataError
from chainkit.interrupt import poll
from chainkit.packages import imported

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage


@attrs.frozen(kw_only=True)
class Picture:
    """An image that was not decoded yet.

    Arguments:
        name: Its file, for messages.
        read: Gives the bytes of the file.
    """

    name: str
    read: Callable[[], bytes]

    def decode(self) -> PillowImage:
        """The image in RGB, upright.

        Raises:
            DataError: It cannot be read or decoded.
        """
        from PIL import Image, ImageOps

        try:
            with Image.open(io.BytesIO(self.read())) as image:
                if image.mode[0] in "IF":  # converted, all but the darkest levels would be white
                    raise ValueError("more than 8 bits per channel; convert it to 8")
                return ImageOps.exif_transpose(image).convert("RGB")
        # The decoders raise almost anything on damaged files: OSError, SyntaxError, struct.error, ...
        except Exception as error:
            raise DataError(f"{self.name}: cannot be decoded, {(str(error) or type(error).__name__).splitlines()[0]}") from error


def decoded_once(
    path: Path, pictures: Callable[[], Sequence[Picture]], prepare: Callable[[Picture], PillowImage], shape: tuple[int, ...]
) -> Tensor:
    """All images, uint8 [N, channels, rows, columns], mapped from a file that is written if it is absent.

    Arguments:
        path: The file; its name must change where the images or their preparation do.
        pictures: Gives the images; called only if the file is absent.
        prepare: Decodes, scales and crops one of them; runs in threads.
        shape: (N, channels, rows, columns).

    Raises:
        MissingPackage: Pillow cannot be imported, and the file is absent.
        DataError: An image is damaged, or the file is damaged or cannot be written.
    """
    if not path.exists():
        imported("PIL.Image", "pip install pillow")
        _write(path, pictures(), prepare, shape)
    try:
        # Copy-on-write, since torch has no read-only tensors: the file cannot be changed through one.
        array = np.load(path, mmap_mode="c", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{path}: damaged; delete it, to have it made again") from error
    if array.shape != shape or array.dtype != np.uint8:
        raise DataError(f"{path}: holds {array.dtype} {array.shape}, not uint8 {shape}; delete it, to have it made again")
    return torch.from_numpy(array)


def _write(path: Path, pictures: Sequence[Picture], prepare: Callable[[Picture], PillowImage], shape: tuple[int, ...]) -> None:
    """Writes beside the file and renames, so that what has its name is always whole."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    pool = ThreadPoolExecutor()
    try:
        with beside.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
            label = f"decoding {len(pictures)} images once into {path}"
            with click.progressbar(length=len(pictures), label=label, file=sys.stderr) as bar:
                for image in pool.map(prepare, pictures):
                    poll()
                    pixels = np.asarray(image)
                    file.write(np.moveaxis(pixels.reshape(*pixels.shape[:2], -1), -1, 0).tobytes())
                    bar.update(1)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written, {error.strerror or error}") from error
    finally:
        pool.shutdown(cancel_futures=True)
        beside.unlink(missing_ok=True)
