"""Arrays from ``.npy`` and ``.npz`` files, never unpickled."""

from __future__ import annotations

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
        raise DataError(f"{path}: no such file{'' if path.is_absolute() else f' in {Path.cwd()}'}") from None
    except Exception as error:  # on damaged files numpy raises almost anything
        raise DataError(f"{path}: cannot be read, {_reason(error)}") from error
    raise DataError(f"{path}: not an .npy or .npz file")


def _reason(error: Exception) -> str:
    text = (str(error) or type(error).__name__).splitlines()[0]
    if "allow_pickle" in text or "Python objects" in text or "pickle" in text:
        return "it holds pickled Python objects, which are never loaded; save plain numbers with numpy.save"
    if "mmap length" in text:
        return "it is truncated"
    return text


def split_arrays(path: Path, arrays: Mapping[str, Tensor], fractions: Mapping[str, float]) -> dict[str, Split]:
    """The splits of a file.

    Arguments:
        path: The file, for messages.
        arrays: Values and labels, named as in :data:`MEMBERS`, ``x_train`` among them.
        fractions: Fraction of the training examples, counted from their end, for each split that
            has no array of its own.

    Raises:
        DataError: A split has labels for other examples than its own, or fewer than two training
            examples are left.
    """
    found: dict[str, Split] = {}
    for split in SPLITS:
        values, labels = arrays.get(f"x_{split}"), arrays.get(f"y_{split}")
        if labels is not None and (values is None or len(values) != len(labels)):
            raise DataError(f"{path}: x_{split} and y_{split} must hold the same number of examples")
        if values is not None:
            found[split] = Split(values=values, labels=labels)
    train = found["train"]
    left = len(train)
    for split in reversed(SPLITS[1:]):
        if split not in found and fractions[split]:
            first = left - max(1, round(len(train) * fractions[split]))
            found[split] = _piece(train, max(first, 0), left)
            left = first
    if left < 2:
        raise DataError(f"{path}: {len(train)} example{'s' * (len(train) != 1)} leave fewer than two to train on")
    return {**found, "train": _piece(train, 0, left)}


def _piece(split: Split, first: int, last: int) -> Split:
    return Split(values=split.values[first:last], labels=None if split.labels is None else split.labels[first:last])


def _values(path: Path, name: str, array: np.ndarray, config: ArraysConfig) -> Tensor:
    """Checked values: uint8 ones as they are, possibly mapped; Boolean ones as uint8; floating ones as float32."""
    if array.ndim < 2 or 0 in array.shape:
        raise DataError(f"{path}: {name} has shape {array.shape}, not [examples, ...]")
    kind, what = array.dtype.kind, f"{path}: {name}"
    if not (array.dtype in (np.uint8, np.bool_) or (kind == "f" and array.dtype.itemsize in (4, 8))):
        raise DataError(f"{what} has dtype {array.dtype}, not uint8, bool, float32 or float64")
    if kind == "b" and config.binarize != "none":
        raise DataError(f"{what} is Boolean, zeros and ones already; leave binarize out")
    if kind != "u" and config.dequantize:
        raise DataError(f"{what} has dtype {array.dtype}, and dequantize needs uint8")
    if kind != "f":
        return _arranged(what, torch.from_numpy(array.view(np.uint8)), config.layout)
    values = torch.from_numpy(array.astype(np.float32, copy=False))
    _require(what, values, "a value that is not a finite number", torch.isfinite)
    if config.binarize != "none":
        _require(what, values, "a value outside [0, 1]", lambda block: (block >= 0) & (block <= 1))
    return _arranged(what, values, config.layout)


def _require(what: str, values: Tensor, wrong: str, test: Callable[[Tensor], Tensor]) -> None:
    for number, block in enumerate(values.split(ROWS)):
        bad = (~test(block)).nonzero()
        if len(bad):
            position = [number * ROWS + int(bad[0, 0]), *bad[0, 1:].tolist()]
            raise DataError(f"{what} has {wrong}, {block[tuple(bad[0])]:g} at index {position}")


def _arranged(what: str, values: Tensor, layout: str) -> Tensor:
    axes = {"rows-columns": 3, "rows-columns-channels": 4}.get(layout, values.dim())
    if values.dim() != axes:
        raise DataError(f"{what} has shape {tuple(values.shape)}, which does not fit the layout {layout}")
    if layout == "rows-columns":
        return values.unsqueeze(1)
    return values.permute(0, 3, 1, 2) if layout == "rows-columns-channels" else values


def _labels(path: Path, name: str, array: np.ndarray) -> Tensor:
    if array.ndim != 1 or array.dtype.kind not in "iu" or array.min(initial=0) < 0:
        raise DataError(f"{path}: {name} must be classes 0, 1, 2, ... of an integer type, one per example")
    return torch.from_numpy(array.astype(np.int64))


def build_arrays(config: ArraysConfig, context: Context) -> Data:
    """The arrays of a file.

    Raises:
        DataError: The file or what it holds cannot be used; the message names it and says why.
    """
    path = Path(config.path).expanduser()
    arrays = read_arrays(path)
    if "x_train" not in arrays:
        raise DataError(f"{path}: has no x_train")
    kinds = {array.dtype.kind for name, array in arrays.items() if name.startswith("x")}
    tensors = {name: _values(path, name, array, config) for name, array in arrays.items() if name.startswith("x")}
    if len(kinds) > 1 or len({values.shape[1:] for values in tensors.values()}) > 1:
        raise DataError(f"{path}: the splits differ in shape or dtype")
    tensors |= {name: _labels(path, name, array) for name, array in arrays.items() if name.startswith("y")}
    splits = split_arrays(path, tensors, {"valid": config.valid, "test": config.test})
    classes = _class_count(path, splits) if config.labels else None
    data = prepare(path.stem, splits, config, classes, scale=None if kinds == {"u"} else 1)
    if kinds == {"b"}:
        data.preparation = Given("zeros and ones", binary=True)
    return data


def _class_count(path: Path, splits: Mapping[str, Split]) -> int:
    labels = [split.labels for split in splits.values() if split.labels is not None]
    if len(labels) < len(splits):
        raise DataError(f"{path}: labels are wanted, and a split has no y array")
    return 1 + max(int(own.max()) for own in labels)
