"""Arrays from files: what stays on disk, and what is refused in which words."""

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from chainkit.capabilities import BinaryStates, ImageStates, RealStates
from chainkit.component import Context
from chainkit.errors import DataError
from chainkit.random import seeded
from chainkit_datasets.arrays import build_arrays
from chainkit_datasets.configs import ArraysConfig

BYTES = np.arange(20 * 4, dtype=np.uint8).reshape(20, 4)

needs_maps = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/smaps, which only Linux has")


def build(path, **settings):
    return build_arrays(ArraysConfig(path=str(path), **settings), Context())


def saved(folder, array, name="examples.npy"):
    np.save(folder / name, array)
    return folder / name


def zipped(folder, **arrays):
    np.savez(folder / "examples.npz", **arrays)
    return folder / "examples.npz"


def mapping(values, path):
    """The resident size in KiB of the file mapping that holds a tensor's memory; None if no file does."""
    inside = None
    for line in Path("/proc/self/smaps").read_text().splitlines():
        words = line.split()
        if "-" in words[0] and not words[0].endswith(":"):
            low, high = (int(end, 16) for end in words[0].split("-"))
            inside = low <= values.data_ptr() < high and words[-1] == str(path)
        elif inside and words[0] == "Rss:":
            return int(words[1])
    return None


def test_an_npy_file_is_split_in_its_order(tmp_path):
    data = build(saved(tmp_path, BYTES), valid=0.1, test=0.2)
    assert {split: len(content) for split, content in data.splits.items()} == {"train": 14, "valid": 2, "test": 4}
    joined = torch.cat([data.split(split).values for split in ("train", "valid", "test")])
    assert torch.equal(joined, torch.from_numpy(BYTES))
    assert data.name == "examples"


@needs_maps
@pytest.mark.parametrize("settings", [{}, {"flatten": True}, {"layout": "rows-columns"}, {"scale": 256, "dequantize": True}])
def test_bytes_stay_mapped_and_a_batch_reads_only_its_rows(tmp_path, settings):
    path = tmp_path / "large.npy"
    np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(100_000, 32, 32)).flush()
    data = build(path, **settings)
    values = data.split("train").values
    assert values.dtype == torch.uint8
    assert mapping(values, path) is not None
    data.batch("train", torch.arange(8), seeded("cpu", 0))
    assert mapping(values, path) < 4096  # KiB, of 100 000


def test_the_file_is_not_changed_through_the_tensor(tmp_path):
    path = saved(tmp_path, BYTES)
    build(path).split("train").values.fill_(9)
    assert np.array_equal(np.load(path), BYTES)


def test_an_npz_file_brings_its_own_splits_and_labels(tmp_path):
    labels = np.arange(20) % 3
    path = zipped(tmp_path, x_train=BYTES, y_train=labels, x_test=BYTES[:5], y_test=labels[:5], other=np.zeros(3))
    data = build(path, labels=True, valid=0.1)
    assert {split: len(content) for split, content in data.splits.items()} == {"train": 18, "valid": 2, "test": 5}
    assert data.classes == 3
    assert data.split("valid").labels.tolist() == [0, 1]
    assert data.batch("test", torch.tensor([4]), None).condition.tolist() == [1]


def test_bytes_are_prepared_as_the_settings_say(tmp_path):
    path = saved(tmp_path, BYTES)
    plain = build(path, valid=0, test=0)
    torch.testing.assert_close(plain.batch("train", torch.arange(20), None).origin, torch.from_numpy(BYTES) / 255)
    assert plain.preparation.words == "scaled by 1/255"
    assert build(path, scale=256, dequantize=True).preparation.bin_width == 1 / 256
    assert build(path, binarize="static").preparation.states is BinaryStates


@pytest.mark.parametrize("dtype", [np.float32, np.float64, ">f8"])
def test_floating_values_are_taken_as_they_are(tmp_path, dtype):
    values = np.linspace(-3, 5, 40).reshape(20, 2).astype(dtype)
    data = build(saved(tmp_path, values), valid=0, test=0)
    torch.testing.assert_close(data.split("train").values, torch.tensor(values.astype(np.float32)))
    assert data.preparation.words == "as it is"
    assert data.preparation.bin_width is None
    assert data.provided() == (RealStates,)


def test_floating_rates_are_binarised(tmp_path):
    data = build(saved(tmp_path, np.tile([0.0, 1.0], (20, 1))), binarize="dynamic")
    assert data.preparation.words == "binary: 1 with probability the value, drawn in every batch"
    assert data.batch("train", torch.arange(16), seeded("cpu", 0)).origin.mean(0).tolist() == [0.0, 1.0]


def test_boolean_values_are_zeros_and_ones(tmp_path):
    data = build(saved(tmp_path, BYTES > 40), valid=0, test=0)
    assert torch.equal(data.batch("train", torch.arange(20), None).origin, torch.from_numpy(BYTES > 40).float())
    assert data.preparation.words == "zeros and ones"
    assert data.preparation.bin_width == 1.0
    assert data.preparation.states is BinaryStates


@pytest.mark.parametrize(
    ("layout", "stored", "shape"),
    [
        ("as-is", (20, 5, 6), (5, 6)),
        ("rows-columns", (20, 5, 6), (1, 5, 6)),
        ("rows-columns-channels", (20, 5, 6, 3), (3, 5, 6)),
    ],
)
def test_a_layout_makes_images(tmp_path, layout, stored, shape):
    values = np.random.default_rng(0).integers(0, 256, stored, dtype=np.uint8)
    data = build(saved(tmp_path, values), layout=layout)
    assert data.shape == shape
    assert (ImageStates in data.provided()) == (layout != "as-is")
    if layout == "rows-columns-channels":
        assert torch.equal(data.split("train").values[0, 2], torch.from_numpy(values[0, :, :, 2]))


def truncated(folder):
    path = saved(folder, BYTES)
    path.write_bytes(path.read_bytes()[:-10])
    return path


def truncated_zip(folder):
    path = zipped(folder, x_train=BYTES)
    path.write_bytes(path.read_bytes()[:100])
    return path


def pickled(folder):
    np.save(folder / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return folder / "objects.npy"


def pickled_in_zip(folder):
    return zipped(folder, x_train=np.array([{"a": 1}] * 3, dtype=object))


def bare_pickle(folder):
    (folder / "pickle.npy").write_bytes(pickle.dumps([1, 2]))
    return folder / "pickle.npy"


def written(name, content):
    def write(folder):
        (folder / name).write_bytes(content)
        return folder / name

    return write


def not_finite(folder):
    values = np.zeros((5000, 3), dtype=np.float32)
    values[4500, 2] = np.nan
    return saved(folder, values)


@pytest.mark.parametrize(
    ("make", "settings", "reason"),
    [
        (lambda folder: folder / "absent.npy", {}, "no such file"),
        (lambda folder: folder / "absent.npz", {}, "no such file"),
        (truncated, {}, "it is truncated"),
        (truncated_zip, {}, "cannot be read, File is not a zip file"),
        (written("empty.npy", b""), {}, "cannot be read"),
        (written("empty.npz", b""), {}, "cannot be read"),
        (written("table.csv", b"1,2"), {}, "not an .npy or .npz file"),
        (pickled, {}, "pickled Python objects, which are never loaded"),
        (pickled_in_zip, {}, "pickled Python objects, which are never loaded"),
        (bare_pickle, {}, "pickled Python objects, which are never loaded"),
        (not_finite, {}, r"x_train has a value that is not a finite number, nan at index \[4500, 2\]"),
        (lambda folder: saved(folder, BYTES.astype(np.int64)), {}, "dtype int64, not uint8, bool, float32 or float64"),
        (lambda folder: saved(folder, BYTES.astype(np.float16)), {}, "dtype float16"),
        (lambda folder: saved(folder, BYTES[:, 0]), {}, r"shape \(20,\), not \[examples, ...\]"),
        (lambda folder: saved(folder, BYTES[:1]), {}, "1 example leave fewer than two"),
        (lambda folder: saved(folder, BYTES[:3]), {}, "3 examples leave fewer than two"),
        (lambda folder: saved(folder, BYTES[:0]), {}, r"shape \(0, 4\), not \[examples, ...\]"),
        (lambda folder: saved(folder, BYTES), {"labels": True}, "labels are wanted"),
        (lambda folder: saved(folder, BYTES), {"layout": "rows-columns"}, "does not fit the layout rows-columns"),
        (lambda folder: saved(folder, BYTES / 2.0), {"dequantize": True, "scale": 256}, "dequantize needs uint8"),
        (lambda folder: saved(folder, BYTES / 2.0), {"binarize": "static"}, r"outside \[0, 1\], 1.5 at index \[0, 3\]"),
        (lambda folder: saved(folder, BYTES > 1), {"binarize": "static"}, "zeros and ones already"),
        (lambda folder: zipped(folder, images=BYTES), {}, "has no x_train"),
        (lambda folder: zipped(folder, x_train=BYTES, y_train=np.arange(19)), {}, "the same number of examples"),
        (lambda folder: zipped(folder, x_train=BYTES, y_test=np.arange(19)), {}, "the same number of examples"),
        (lambda folder: zipped(folder, x_train=BYTES, y_train=np.arange(20) - 1), {}, "y_train must be classes"),
        (lambda folder: zipped(folder, x_train=BYTES, y_train=np.arange(20) / 2), {}, "y_train must be classes"),
        (lambda folder: zipped(folder, x_train=BYTES, x_test=BYTES[:, :3]), {}, "differ in shape or dtype"),
        (lambda folder: zipped(folder, x_train=BYTES, x_test=BYTES / 2.0), {}, "differ in shape or dtype"),
    ],
)
def test_an_unfit_file_is_named_with_the_reason(tmp_path, make, settings, reason):
    path = make(tmp_path)
    with pytest.raises(DataError, match=reason) as caught:
        build(path, **settings)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_fractions_that_leave_nothing_to_train_on_are_refused():
    with pytest.raises(ValueError, match="leaves no training examples"):
        ArraysConfig(path="examples.npy", valid=0.5, test=0.5)
