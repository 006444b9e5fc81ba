"""Data that is damaged, absent, empty or tiny: one line that names the file and the example, or the right thing done."""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import attrs
import numpy as np
import tomli_w
from children import finish
from PIL import Image
from study import Record, tally

Make = Callable[[Path], dict[str, Any]]


@attrs.frozen(kw_only=True)
class Trouble:
    """Data and what must be said of it.

    Arguments:
        make: Writes the files into a folder, and gives the ``[data]`` table that names them.
        said: What the one line of the error must hold; empty where the run must end well.
    """

    make: Make
    said: tuple[str, ...] = ()


def numbers(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    """Numbers in [0, 1), or levels 0..255, the same every time."""
    values = np.random.default_rng(0).random(shape)
    return (values * 256).astype(dtype) if np.dtype(dtype).kind == "u" else values.astype(dtype)


def npy(array: np.ndarray, cut: int | None = None) -> bytes:
    """An ``.npy`` file, cut off or whole."""
    content = io.BytesIO()
    np.save(content, array, allow_pickle=True)
    return content.getvalue()[:cut]


def refused(make: Make, *said: str) -> Trouble:
    """Data that must be refused in these words."""
    return Trouble(make=make, said=said)


def header(kind: str, shape: str) -> bytes:
    """An ``.npy`` file of 16 zeros with this type and shape in its header."""
    text = f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + b"\0" * 64


def array_file(content: bytes | np.ndarray, name: str = "values.npy", **settings: Any) -> Make:
    """A dataset of one array."""

    def make(folder: Path) -> dict[str, Any]:
        (folder / name).write_bytes(npy(content) if isinstance(content, np.ndarray) else content)
        return {"type": "arrays", "path": name, "valid": 0.0, "test": 0.2, **settings}

    return make


def archive(spoil: Callable[[bytes], bytes] = bytes, settings: dict[str, Any] | None = None, **arrays: np.ndarray) -> Make:
    """A dataset of several arrays."""
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    return array_file(spoil(content.getvalue()), "values.npz", **(settings or {}))


def pickled(folder: Path) -> dict[str, Any]:
    """An array of objects in an archive."""
    with zipfile.ZipFile(folder / "values.npz", "w") as file:
        file.writestr("x_train.npy", npy(np.array([{"a": 1}, None], dtype=object)))
    return {"type": "arrays", "path": "values.npz"}


def spotted(value: float, place: tuple[int, ...], *shape: int) -> np.ndarray:
    """Numbers with one that is another."""
    values = numbers(*shape)
    values[place] = value
    return values


def flipped(content: bytes) -> bytes:
    """Bytes with some in the middle turned."""
    middle = len(content) // 3
    return content[:middle] + bytes(255 - byte for byte in content[middle : middle + 20]) + content[middle + 20 :]


def png(size: int = 12, shade: int = 100) -> bytes:
    """A small picture."""
    content = io.BytesIO()
    Image.fromarray(np.full((size, size, 3), shade, dtype=np.uint8)).save(content, "PNG")
    return content.getvalue()


def vast() -> bytes:
    """A picture of 100 000 x 100 000 pixels in few bytes."""
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", 10**5, 10**5, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b""))
    checked = (struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks)
    return png()[:8] + b"".join(checked)


def pictures(bad: bytes | None = None, count: int = 8, **settings: Any) -> Make:
    """A folder of pictures, one of them bad."""

    def make(folder: Path) -> dict[str, Any]:
        (folder / "pictures").mkdir()
        for number in range(count):
            (folder / "pictures" / f"{number}.png").write_bytes(png(shade=10 * number))
        if bad is not None:
            (folder / "pictures" / "5.png").write_bytes(bad)
        return {"type": "image-folder", "path": "pictures", "size": 4, "channels": "grey", "valid": 0.0, "test": 0.2, **settings}

    return make


def idx(array: np.ndarray) -> bytes:
    """An IDX file of bytes."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def mnist(name: str = "", content: Callable[[bytes], bytes] = bytes, **settings: Any) -> Make:
    """MNIST in small, one of its files bad."""

    def make(folder: Path) -> dict[str, Any]:
        raw = folder / "data" / "MNIST" / "raw"
        raw.mkdir(parents=True)
        for part, n in (("train", 20), ("t10k", 6)):
            labels = np.arange(n, dtype=np.uint8) % 10
            files = {f"{part}-images-idx3-ubyte": numbers(n, 28, 28, dtype=np.uint8), f"{part}-labels-idx1-ubyte": labels}
            for file, array in files.items():
                (raw / file).write_bytes(content(idx(array)) if file == name else idx(array))
        return {"type": "mnist", "root": "data", "download": False, "valid": 4, **settings}

    return make


def replaced(array: np.ndarray) -> Callable[[bytes], bytes]:
    """Another array in the place of a file's."""
    return lambda _: idx(array)


LABELLED = {"labels": True}
TRAIN, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
FEWER, TWENTY, SMALL = np.zeros(12, dtype=np.uint8), np.arange(20, dtype=np.uint8), numbers(20, 14, 14, dtype=np.uint8)
POINTS, LEVELS = numbers(40, 2), numbers(40, 2, dtype=np.uint8)

TROUBLES: dict[str, Trouble] = {
    "an array cut off": refused(array_file(npy(POINTS, 200)), "values.npy", "truncated"),
    "an array cut off in its header": refused(array_file(npy(POINTS, 40)), "values.npy"),
    "an empty file": refused(array_file(b""), "values.npy"),
    "text for an array": refused(array_file(b"x,y\n1,2\n"), "values.npy"),
    "objects for numbers": refused(array_file(np.array([{"a": 1}], dtype=object)), "values.npy", "pickled Python objects"),
    "objects in an archive": refused(pickled, "values.npz", "pickled Python objects"),
    "a header that promises 2^60 numbers": refused(array_file(header("'<f4'", "(1152921504606846976, 2)")), "values.npy"),
    "a header of negative length": refused(array_file(header("'<f4'", "(-4, 2)")), "values.npy"),
    "a header with code": refused(array_file(header("__import__('os').getcwd()", "(1, 2)")), "values.npy"),
    "a header nested deeply": refused(array_file(header("(" * 60, "1")), "values.npy"),
    "a header of a strange type": refused(array_file(header("[('a', '<f4')]", "(1, 2)")), "values.npy", "dtype"),
    "an archive cut off": refused(archive(lambda content: content[:-40], x_train=POINTS), "values.npz"),
    "an archive with turned bytes": refused(archive(flipped, x_train=POINTS), "values.npz"),
    "an archive without training examples": refused(archive(x_test=POINTS), "values.npz", "has no x_train"),
    "NaN in an array": refused(array_file(spotted(np.nan, (7, 1), 40, 2)), "values.npy: x_train", "nan at index [7, 1]"),
    "infinity late in a large array": refused(array_file(spotted(np.inf, (9001, 0), 9100, 2)), "x_train", "inf at index [9001, 0]"),
    "NaN in the test split": refused(archive(x_train=POINTS, x_test=spotted(np.nan, (3, 0), 5, 2)), "x_test", "nan at index [3, 0]"),
    "numbers too large for float32": refused(array_file(np.full((40, 2), 1e300)), "x_train", "inf at index [0, 0]"),
    "complex numbers": refused(array_file(POINTS.astype(np.complex64)), "values.npy: x_train has dtype complex64"),
    "words": refused(array_file(np.array([["a", "b"]])), "values.npy: x_train has dtype <U1"),
    "no examples": refused(array_file(numbers(0, 2)), "values.npy: x_train has shape (0, 2)"),
    "an empty test split": refused(archive(x_train=POINTS, x_test=numbers(0, 2)), "values.npz: x_test has shape (0, 2)"),
    "a single number": refused(array_file(np.array(1, dtype=np.float32)), "values.npy: x_train has shape ()"),
    "one example": refused(array_file(numbers(1, 2)), "values.npy: 1 example leave"),
    "splits of different shapes": refused(archive(x_train=POINTS, x_test=numbers(5, 3)), "values.npz: the splits differ in shape"),
    "labels missing": refused(array_file(LEVELS, **LABELLED), "values.npy: labels are wanted"),
    "labels for other examples": refused(
        archive(settings=LABELLED, x_train=LEVELS, y_train=np.arange(39)), "x_train and y_train must hold"
    ),
    "labels that are no classes": refused(archive(settings=LABELLED, x_train=LEVELS, y_train=numbers(40)), "y_train must be classes"),
    "negative labels": refused(archive(settings=LABELLED, x_train=LEVELS, y_train=np.arange(40) - 1), "y_train must be classes"),
    "no such file": refused(lambda folder: {"type": "arrays", "path": "absent.npy"}, "absent.npy: no such file"),
    "a folder for a file": refused(lambda folder: {"type": "arrays", "path": "."}, "not an .npy or .npz file"),
    "two examples to train on": Trouble(make=array_file(numbers(3, 2), test=0.3)),
    "fewer examples than a batch": Trouble(make=array_file(numbers(40, 2))),
    "a picture cut off": refused(pictures(png()[:-30]), "pictures/5.png: cannot be decoded"),
    "a picture that is empty": refused(pictures(b""), "pictures/5.png: cannot be decoded"),
    "a picture that is text": refused(pictures(b"not a picture"), "pictures/5.png: cannot be decoded"),
    "a picture with turned bytes": refused(pictures(flipped(png())), "pictures/5.png: cannot be decoded"),
    "a picture of 10^10 pixels": refused(pictures(vast()), "pictures/5.png: cannot be decoded"),
    "no pictures": refused(pictures(count=0), "pictures: no images in it"),
    "one picture": refused(pictures(count=1), "pictures: 1 image leave"),
    "pictures without a class": refused(pictures(**LABELLED), "0.png: labels are wanted"),
    "pictures that are in order": Trouble(make=pictures()),
    "images cut off": refused(mnist(TRAIN, lambda content: content[:-100]), TRAIN, "its header promises 15696"),
    "labels cut off": refused(mnist(LABELS, lambda content: content[:-1]), LABELS, "its header promises 28"),
    "images that are text": refused(mnist(TRAIN, lambda content: b"not images"), TRAIN, "not an IDX file"),
    "images of 2^90 bytes": refused(mnist(TRAIN, lambda content: content[:4] + b"\x7f" * 12 + content[16:]), TRAIN, "its header promises"),
    "labels for fewer images": refused(mnist(LABELS, replaced(FEWER), **LABELLED), f"{LABELS}: holds 12 labels for 20 images"),
    "labels above 9": refused(mnist(LABELS, replaced(TWENTY), **LABELLED), "mnist: the train split has the label 10 at index 10"),
    "images of another shape": refused(mnist(TRAIN, replaced(SMALL)), f"{TRAIN}: holds an array of shape (20, 14, 14)"),
    "images in order": Trouble(make=mnist()),
}
"""What is wrong, how it is made, and what must be said."""

RECIPE = """
device = "cpu"
[chain]
steps = 2
prior = "gaussian"
operator = { type = "infusion-gaussian", mean = "linear", network = { type = "mlp", hidden = [4], norm = "none" } }
[process]
type = "infusion"
[objective]
type = "denoising"
[train]
epochs = 1
batch_size = 1000
optimizer = { type = "adam", lr = 0.01 }
[sample]
n = 2
[evaluate]
examples = 2
estimators = [{ type = "lower-bound", walks = 2 }]
"""


def data(count: int, seed: int, folder: Path, method: str) -> Record:
    """``count`` kinds of data, in an order that depends on the seed; all of them if there are no more.

    What cannot be trained on is refused with 4 and one line, and leaves no run directory; the rest is trained on.
    """
    every, codes = list(TROUBLES.items()), Counter[str]()
    Random(seed).shuffle(every)

    def trials() -> Iterator[str]:
        for number, (name, trouble) in enumerate(every[:count]):
            found = _fault(trouble, folder / str(number), codes)
            yield found and f"{name}: {found}"

    return tally(trials(), codes=codes)


def _fault(trouble: Trouble, folder: Path, codes: Counter[str]) -> str:
    folder.mkdir(parents=True)
    (folder / "recipe.toml").write_text(RECIPE + tomli_w.dumps({"data": trouble.make(folder)}), encoding="utf-8")
    ended = finish(["run", "recipe.toml", "--out", "run"], folder / "said.txt", lambda: os.chdir(folder))
    codes[str(ended.code)] += 1
    errors = [line for line in ended.said.splitlines() if line.startswith("chainkit: error: ")]
    refused = ended.code == 4 and len(errors) == 1 and "Traceback" not in ended.said and not (folder / "run").exists()
    if trouble.said and not (refused and all(words in errors[0] for words in trouble.said)):
        return f"it ends with {ended.code}, {trouble.said} wanted: {ended.said[-800:]}"
    return "" if trouble.said or not ended.code else f"it ends with {ended.code}: {ended.said[-800:]}"
