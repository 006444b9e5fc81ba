"""Arrays from ``.npy`` and ``.npz`` files, never unpickled."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from chainkit.component import Context
from chainkit.data import SPLITS, Data, Split
from chainkit.errors import DataError
from chainkit_datasets.configs import ArraysConfig
from chainkit_datasets.preparation import ROWS, Given, prepare

MEMBERS = [f"{letter}_{split}" for letter in "xy" for split in SPLITS]


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file by name; an ``.npy`` file is one named ``x_train``, and stays on disk.

    Arguments:
        path: The file.

    Raises:
        DataError: It is missing, of another kind, truncated, or holds pickled objects.
    """
    try:
        if path.suffix == ".npy":
            # Copy-on-write, since torch has no read-only tensors: the file cannot be changed through one.
            return {"x_train": np.load(path, mmap_mode="c", allow_pickle=False)}
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                return {name: file[name] for name in MEMBERS if name in file}
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: cannot be read, {_reason(error)}") from error
    raise DataError(f"{path}: not an .npy or .npz file")


def _reason(error: Exception) -> str:
    text = (str(error) or type(error).__name__).splitlines()[0]
    if "allow_pickle" in text or "Python objects" in text or "pickle" in text:
        return "it holds pickled Python objects, which are never loaded; save plain numbers with numpy.save"
    if "mmap length" in text:
        return "it is truncated"
    return text


def split_arrays(path: Path, arrays: Mapping[str, np.ndarray], fractions: Mapping[str, float]) -> dict[str, dict[str, np.ndarray]]:
    """Values (``x``) and, where there are some, labels (``y``) by split.

    Arguments:
        path: The file, for messages.
        arrays: Arrays named as in :data:`MEMBERS`.
        fractions: Fraction of the training examples, counted from their end, for each split that
            has no array of its own.

    Raises:
        DataError: There is no ``x_train``, a split has labels for other examples than its own, or
            fewer than two training examples are left.
    """
    if "x_train" not in arrays:
        raise DataError(f"{path}: has no x_train")
    found = {split: {name[0]: arrays[name] for name in (f"x_{split}", f"y_{split}") if name in arrays} for split in SPLITS}
    for split, parts in found.items():
        lengths = {len(part) if part.ndim else 0 for part in parts.values()}
        if parts and ("x" not in parts or len(lengths) > 1 or lengths == {0}):
            raise DataError(f"{path}: x_{split} and y_{split} must hold the same number of examples, at least one")
    train = found["train"]
    left = total = len(train["x"])
    for split in reversed(SPLITS[1:]):
        if not found[split] and fractions[split]:
            first = left - max(1, round(total * fractions[split]))
            found[split] = {letter: part[max(first, 0) : left] for letter, part in train.items()}
            left = first
    if left < 2:
        raise DataError(f"{path}: {total} example{'s' * (total != 1)} leave fewer than two to train on")
    found["train"] = {letter: part[:left] for letter, part in train.items()}
    return {split: parts for split, parts in found.items() if parts}


def _values(path: Path, name: str, array: np.ndarray) -> Tensor:
    """Checked values: uint8 ones as they are, possibly mapped; Boolean ones as uint8; floating ones as float32."""
    if array.ndim < 2 or not array[0].size:
        raise DataError(f"{path}: {name} has shape {array.shape}, not [examples, ...]")
    if array.dtype == np.uint8:
        return torch.from_numpy(array)
    if array.dtype == np.bool_:
        return torch.from_numpy(array.view(np.uint8))
    if array.dtype.kind != "f" or array.dtype.itemsize < 4:
        raise DataError(f"{path}: {name} has dtype {array.dtype}, not uint8, bool, float32 or float64")
    values = torch.from_numpy(array.astype(np.float32, copy=False))
    _require(path, name, values, "a value that is not a finite number", torch.isfinite)
    return values


def _require(path: Path, name: str, values: Tensor, wrong: str, test: Callable[[Tensor], Tensor]) -> None:
    for number, block in enumerate(values.split(ROWS)):
        bad = (~test(block)).nonzero()
        if len(bad):
            position = [number * ROWS + int(bad[0, 0]), *bad[0, 1:].tolist()]
            raise DataError(f"{path}: {name} has {wrong}, {block[tuple(bad[0])]:g} at index {position}")


def _arranged(path: Path, name: str, values: Tensor, layout: str) -> Tensor:
    axes = {"rows-columns": 3, "rows-columns-channels": 4}.get(layout, values.dim())
    if values.dim() != axes:
        raise DataError(f"{path}: {name} has shape {tuple(values.shape)}, which does not fit the layout {layout}")
    if layout == "rows-columns":
        return values.unsqueeze(1)
    return values.permute(0, 3, 1, 2) if layout == "rows-columns-channels" else values


def _labels(path: Path, name: str, array: np.ndarray | None) -> Tensor | None:
    if array is None:
        return None
    if array.ndim != 1 or array.dtype.kind not in "iu" or array.min() < 0:
        raise DataError(f"{path}: {name} must be classes 0, 1, 2, ... of an integer type, one per example")
    return torch.from_numpy(array.astype(np.int64))


def build_arrays(config: ArraysConfig, context: Context) -> Data:
    """The arrays of a file.

    Raises:
        DataError: The file or what it holds cannot be used; the message names it and says why.
    """
    path = Path(config.path).expanduser()
    parts = split_arrays(path, read_arrays(path), {"valid": config.valid, "test": config.test})
    splits = {
        split: Split(
            values=_arranged(path, f"x_{split}", _values(path, f"x_{split}", part["x"]), config.layout),
            labels=_labels(path, f"y_{split}", part.get("y")),
        )
        for split, part in parts.items()
    }
    if len({(part["x"].dtype.kind, part["x"].shape[1:]) for part in parts.values()}) > 1:
        raise DataError(f"{path}: the splits differ in shape or dtype")
    return _prepared(path, splits, config, parts["train"]["x"].dtype.kind)


def _prepared(path: Path, splits: dict[str, Split], config: ArraysConfig, kind: str) -> Data:
    """The dataset, by the kind of its values: ``u``, ``b`` or ``f``, as numpy calls them."""
    name, classes = path.stem, None
    if config.labels:
        if any(split.labels is None for split in splits.values()):
            raise DataError(f"{path}: labels are wanted, and a split has no y array")
        classes = 1 + max(int(split.labels.max()) for split in splits.values() if split.labels is not None)
    if kind == "u":
        return prepare(name, splits, config, classes)
    if config.dequantize:
        raise DataError(f"{path}: dequantize needs uint8 values")
    if kind == "f":
        if config.binarize != "none":
            for split, content in splits.items():
                _require(path, f"x_{split}", content.values, "a value outside [0, 1]", lambda block: (block >= 0) & (block <= 1))
        return prepare(name, splits, config, classes, scale=1)
    if config.binarize != "none":
        raise DataError(f"{path}: its values are Boolean, zeros and ones already; leave binarize out")
    data = prepare(name, splits, config, classes, scale=1)
    return Data(name, data.splits, Given("zeros and ones", binary=True), classes)
