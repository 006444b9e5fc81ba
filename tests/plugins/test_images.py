"""Image datasets, on small files of their own formats, and on the real MNIST where it lies."""

import hashlib
import os
import pickle
import struct
import sys
import zipfile
from pathlib import Path

import attrs
import numpy as np
import pytest
import torch
from PIL import Image

from chainkit.capabilities import BinaryStates, ImageStates, Labelled
from chainkit.component import Context
from chainkit.errors import DataError, MissingPackage
from chainkit.random import seeded
from chainkit_images.hooks import chainkit_datasets
from chainkit_images.source import data_root

COMPONENTS = {component.name: component for component in chainkit_datasets()}
MNIST = Path(os.environ.get("CHAINKIT_DATA", "")) / "MNIST" / "raw" / "train-images-idx3-ubyte"

real_mnist = pytest.mark.skipif(
    not (os.environ.get("CHAINKIT_DATA") and MNIST.exists()), reason="CHAINKIT_DATA names no folder with MNIST/raw in it"
)


def build(name, **settings):
    component = COMPONENTS[name]
    return component.make(component.config(**settings), Context())


def refused(name, **settings):
    """The one line that refuses to build a dataset."""
    with pytest.raises(DataError) as caught:
        build(name, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", COMPONENTS)
def test_every_key_is_documented(name):
    config = COMPONENTS[name].config
    for field in attrs.fields(config):
        assert f"        {field.name}: " in config.__doc__


# MNIST


def idx(array):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def mnist(tmp_path):
    """A root with 20 training and 6 test images."""
    random = np.random.default_rng(0)
    for kind in ("MNIST", "FashionMNIST"):
        raw = tmp_path / kind / "raw"
        raw.mkdir(parents=True)
        for part, n in (("train", 20), ("t10k", 6)):
            (raw / f"{part}-images-idx3-ubyte").write_bytes(idx(random.integers(0, 256, (n, 28, 28), dtype=np.uint8)))
            (raw / f"{part}-labels-idx1-ubyte").write_bytes(idx(np.arange(n, dtype=np.uint8) % 10))
    return tmp_path


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_the_last_training_images_are_for_validation(mnist, name):
    data = build(name, root=str(mnist), download=False, valid=5, labels=True)
    assert {split: len(content) for split, content in data.splits.items()} == {"train": 15, "valid": 5, "test": 6}
    assert data.shape == (1, 28, 28)
    assert data.split("train").values.dtype == torch.uint8
    assert data.split("valid").labels.tolist() == [5, 6, 7, 8, 9]
    assert data.classes == 10
    assert set(data.provided()) == set(COMPONENTS[name].provided(COMPONENTS[name].config(labels=True)))
    assert Labelled in data.provided()


def test_nothing_is_kept_for_validation_if_none_is_wanted(mnist):
    assert set(build("mnist", root=str(mnist), download=False, valid=0).splits) == {"train", "test"}


def test_more_validation_images_than_there_are_is_refused(mnist):
    assert "the train split is empty" in refused("mnist", root=str(mnist), download=False, valid=30)
    with pytest.raises(ValueError, match="leaves no training examples"):
        COMPONENTS["cifar-10"].config(valid=50_000)


def test_binarised_images_are_binary_and_stay_images(mnist):
    data = build("mnist", root=str(mnist), download=False, valid=5, binarize="dynamic")
    assert set(data.provided()) == {BinaryStates, ImageStates}
    assert data.batch("test", torch.arange(6), seeded("cpu", 0)).origin.unique().tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda content: content[:-1], "its header promises 15696"),
        (lambda content: content + b"x", "has 15697 bytes"),
        (lambda content: b"\x1f\x8b" + content[2:], "not an IDX file"),
        (lambda content: b"", "not an IDX file"),
        (lambda content: content[:9], "not an IDX file"),
    ],
)
def test_a_damaged_idx_file_is_named(mnist, damage, words):
    path = mnist / "MNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(damage(path.read_bytes()))
    message = refused("mnist", root=str(mnist), download=False, valid=5)
    assert message.startswith(f"{path}: ")
    assert words in message


def test_absent_data_says_what_to_do(tmp_path):
    message = refused("mnist", root=str(tmp_path), download=False)
    assert message.startswith(
        f"{tmp_path / 'MNIST' / 'raw'}: MNIST is absent or damaged, and download is false: put train-images-idx3-ubyte"
    )
    assert "set root or CHAINKIT_DATA" in message


def test_a_download_that_fails_is_one_line(tmp_path, monkeypatch):
    import torchvision.datasets

    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [(tmp_path / "nowhere").as_uri() + "/"])
    message = refused("mnist", root=str(tmp_path / "data"))
    assert "could not be downloaded" in message
    assert "No such file" in message


def test_the_root_comes_from_the_setting_then_the_environment_then_the_home(monkeypatch):
    monkeypatch.setenv("CHAINKIT_DATA", "/somewhere")
    assert data_root("/elsewhere") == Path("/elsewhere")
    assert data_root(None) == Path("/somewhere")
    monkeypatch.delenv("CHAINKIT_DATA")
    assert data_root(None) == Path.home() / ".cache" / "chainkit" / "data"


def test_a_torchvision_built_for_another_torch_is_one_line(mnist, monkeypatch, tmp_path):
    broken = tmp_path / "broken" / "torchvision"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(broken.parent)
    with pytest.raises(MissingPackage) as caught:
        build("mnist", root=str(mnist), download=False, valid=5)
    assert str(caught.value).startswith("torchvision cannot be imported (operator torchvision::nms does not exist): install")


@real_mnist
def test_the_real_mnist_is_read_whole():
    assert hashlib.md5(MNIST.read_bytes()).hexdigest() == "6bbc9ace898e44ae57da46a324031adb"
    data = build("mnist", download=False)
    assert {split: len(content) for split, content in data.splits.items()} == {"train": 50_000, "valid": 10_000, "test": 10_000}
    joined = torch.cat([data.split("train").values, data.split("valid").values])
    assert hashlib.md5(idx(joined.squeeze(1).numpy())).hexdigest() == "6bbc9ace898e44ae57da46a324031adb"
    assert data.split("train").labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert abs(data.summary.mean.mean() - 0.1307) < 1e-3


# CIFAR-10


@pytest.fixture
def cifar(tmp_path, monkeypatch):
    """A root with two training batches of four images and a test batch, and torchvision expecting just these."""
    import torchvision.datasets

    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    random = np.random.default_rng(0)

    def batch(name, content):
        (folder / name).write_bytes(pickle.dumps(content))
        return name, hashlib.md5((folder / name).read_bytes()).hexdigest()

    def images():
        return {"data": random.integers(0, 256, (4, 3072), dtype=np.uint8), "labels": [3, 1, 4, 1]}

    kind = torchvision.datasets.CIFAR10
    monkeypatch.setattr(kind, "train_list", [batch("data_batch_1", images()), batch("data_batch_2", images())])
    monkeypatch.setattr(kind, "test_list", [batch("test_batch", images())])
    name, md5 = batch("batches.meta", {"label_names": ["thing"] * 10})
    monkeypatch.setattr(kind, "meta", {"filename": name, "key": "label_names", "md5": md5})
    return tmp_path


def test_cifar_images_have_their_channels_first(cifar):
    data = build("cifar-10", root=str(cifar), download=False, valid=2, labels=True)
    assert {split: len(content) for split, content in data.splits.items()} == {"train": 6, "valid": 2, "test": 4}
    assert data.split("train").values.dtype == torch.uint8
    stored = pickle.loads((cifar / "cifar-10-batches-py" / "data_batch_1").read_bytes())["data"]
    assert torch.equal(data.split("train").values[:4], torch.from_numpy(stored).view(4, 3, 32, 32))
    assert data.split("train").labels.tolist() == [3, 1, 4, 1, 3, 1]


def test_a_damaged_cifar_batch_is_named_and_never_unpickled(cifar):
    path = cifar / "cifar-10-batches-py" / "data_batch_2"
    path.write_bytes(b"cos\nabort\n(tR.")  # a pickle that would end the process
    assert refused("cifar-10", root=str(cifar), download=False, valid=2).startswith(f"{path}: damaged, its md5")


def test_an_absent_cifar_says_what_to_do(tmp_path):
    message = refused("cifar-10", root=str(tmp_path), download=False)
    assert message.startswith(f"{tmp_path / 'cifar-10-batches-py'}: CIFAR-10 is absent")
    assert "cifar-10-python.tar.gz" in message


# CelebA


def face(shade):
    """A picture of 218x178 with a horizontal ramp in red, a vertical one in green and a shade in blue."""
    rows, columns = np.mgrid[:218, :178]
    return Image.fromarray(np.stack([columns, rows, np.full_like(rows, shade)], axis=-1).astype(np.uint8))


NAMES = [f"{number:06d}.jpg" for number in range(1, 9)]


@pytest.fixture
def celeba(tmp_path):
    """A root with eight faces, whose splits are not in the order of their names."""
    images = tmp_path / "celeba" / "img_align_celeba"
    images.mkdir(parents=True)
    for number, name in enumerate(NAMES):
        face(20 * number).save(images / name, quality=95)
    lines = [f"{name} {part}" for name, part in zip(NAMES, [0, 1, 0, 2, 0, 0, 1, 0], strict=True)]
    (tmp_path / "celeba" / "list_eval_partition.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_faces_are_scaled_and_cropped_as_in_the_paper(celeba):
    data = build("celeba", root=str(celeba))
    assert data.shape == (3, 64, 64)
    pixels = data.split("train").values[0].double()
    # 178 columns become 64, 218 rows become 78, of which 7..70 are kept.
    columns = (torch.arange(64) + 0.5) * 178 / 64 - 0.5
    rows = (torch.arange(7, 71) + 0.5) * 218 / 78 - 0.5
    assert (pixels[0] - columns).abs()[:, 2:-2].max() < 4  # JPEG and rounding
    assert (pixels[1] - rows[:, None]).abs().max() < 4


def test_faces_are_split_as_the_partition_says(celeba):
    data = build("celeba", root=str(celeba))
    shades = {split: [round(float(x[2].double().mean()) / 20) for x in content.values] for split, content in data.splits.items()}
    assert shades == {"train": [0, 2, 4, 5, 7], "valid": [1, 6], "test": [3]}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/maps, which only Linux has")
def test_faces_are_decoded_once_and_mapped_from_then_on(celeba):
    first = build("celeba", root=str(celeba))
    for path in (celeba / "celeba" / "img_align_celeba").iterdir():
        path.write_bytes(b"no longer an image")
    again = build("celeba", root=str(celeba))
    for split in ("train", "valid", "test"):
        assert torch.equal(first.split(split).values, again.split(split).values)
    (cache,) = (celeba / "celeba").glob("*.npy")
    assert any(str(cache) in line for line in Path("/proc/self/maps").read_text().splitlines())
    assert again.split("train").values.dtype == torch.uint8
    assert np.load(cache).shape == (8, 3, 64, 64)


def test_an_archive_serves_as_well_as_a_folder(celeba):
    expected = build("celeba", root=str(celeba)).split("train").values.clone()
    folder = celeba / "celeba" / "img_align_celeba"
    with zipfile.ZipFile(celeba / "celeba" / "img_align_celeba.zip", "w") as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, f"img_align_celeba/{path.name}")
            path.unlink()
    folder.rmdir()
    for cache in (celeba / "celeba").glob("*.npy"):
        cache.unlink()
    assert torch.equal(build("celeba", root=str(celeba)).split("train").values, expected)


def test_a_damaged_face_is_named_and_leaves_no_cache_behind(celeba):
    path = celeba / "celeba" / "img_align_celeba" / NAMES[3]
    path.write_bytes(path.read_bytes()[:500])
    assert refused("celeba", root=str(celeba)).startswith(f"{path}: cannot be decoded")
    assert sorted(file.name for file in (celeba / "celeba").iterdir()) == ["img_align_celeba", "list_eval_partition.txt"]


def test_a_damaged_member_of_the_archive_is_named(celeba):
    folder, file = celeba / "celeba" / "img_align_celeba", celeba / "celeba" / "img_align_celeba.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for path in sorted(folder.iterdir()):
            archive.writestr(f"img_align_celeba/{path.name}", b"x" if path.name == NAMES[5] else path.read_bytes())
            path.unlink()
    folder.rmdir()
    assert refused("celeba", root=str(celeba)).startswith(f"{file}: {NAMES[5]}: cannot be decoded")


def test_an_unaligned_face_is_refused(celeba):
    Image.new("RGB", (100, 120)).save(celeba / "celeba" / "img_align_celeba" / NAMES[0])
    assert "has 120x100 pixels, not the 218x178 of the aligned images" in refused("celeba", root=str(celeba))


def test_a_damaged_cache_is_named(celeba):
    build("celeba", root=str(celeba))
    (cache,) = (celeba / "celeba").glob("*.npy")
    cache.write_bytes(cache.read_bytes()[:1000])
    assert refused("celeba", root=str(celeba)) == f"{cache}: damaged; delete it, to have it made again"
    np.save(cache, np.zeros((2, 3, 4, 4), dtype=np.uint8))
    assert "delete it, to have it made again" in refused("celeba", root=str(celeba))


def test_a_folder_that_cannot_be_written_is_named(celeba, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("chainkit_images.cache.os.fsync", full)
    message = refused("celeba", root=str(celeba))
    assert "cannot be written, No space left on device" in message
    assert not list((celeba / "celeba").glob("*.tmp"))
    assert not list((celeba / "celeba").glob(".*.tmp"))


@pytest.mark.parametrize("missing", ["list_eval_partition.txt", "img_align_celeba", "img_align_celeba/000003.jpg"])
def test_missing_files_come_with_instructions(celeba, missing):
    (celeba / "celeba" / missing).rename(celeba / "away")
    message = refused("celeba", root=str(celeba))
    assert message.startswith(f"{celeba / 'celeba'}: {missing} is missing: download")
    for expected in ("img_align_celeba/*.jpg", "img_align_celeba.zip", "list_eval_partition.txt", "by hand"):
        assert expected in message


def test_a_strange_line_of_the_partition_is_named(celeba):
    path = celeba / "celeba" / "list_eval_partition.txt"
    path.write_text(path.read_text() + "000009.jpg 3\n")
    assert refused("celeba", root=str(celeba)).startswith(f"{path}: line 9 is not")


# A folder of images


@pytest.fixture
def photographs(tmp_path):
    """Ten images of two classes in two formats; the left half of each is black, the rest of a shade of its own."""
    for number in range(10):
        folder = tmp_path / "photographs" / ("cats" if number % 2 else "dogs")
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.zeros((40, 60, 3), dtype=np.uint8)
        pixels[:, 30:] = 25 * number
        Image.fromarray(pixels).save(folder / f"{number}.{'png' if number < 5 else 'bmp'}")
    (tmp_path / "photographs" / "notes.txt").write_text("not an image")
    return tmp_path / "photographs"


def shades(data):
    return sorted(int(x[0, 0, -1]) for split in data.splits.values() for x in split.values)


def test_the_images_of_a_folder_are_split_disjointly_and_completely(photographs):
    data = build("image-folder", path=str(photographs), size=20, valid=0.2, test=0.2)
    assert {split: len(content) for split, content in data.splits.items()} == {"train": 6, "valid": 2, "test": 2}
    assert data.shape == (3, 20, 20)
    assert shades(data) == [25 * number for number in range(10)]
    assert data.split("train").values.dtype == torch.uint8


def test_images_are_scaled_by_their_shorter_side_and_cropped_to_the_middle(photographs):
    data = build("image-folder", path=str(photographs), size=20)
    brightest = max((x for split in data.splits.values() for x in split.values), key=lambda x: int(x.max()))
    assert brightest[0, 10, :9].max() == 0
    assert (brightest[0, 10, 11:] == 225).all()


def test_sub_folders_are_classes(photographs):
    data = build("image-folder", path=str(photographs), size=20, labels=True)
    assert data.classes == 2
    for split in data.splits.values():
        for x, label in zip(split.values, split.labels, strict=True):
            assert (int(x[0, 0, -1]) // 25) % 2 == 1 - int(label)  # cats, the odd ones, are class 0


def test_grey_images_have_one_channel(photographs):
    assert build("image-folder", path=str(photographs), size=20, channels="grey").shape == (1, 20, 20)


def test_another_seed_splits_otherwise(photographs):
    first, again = (build("image-folder", path=str(photographs), size=20, seed=0) for _ in range(2))
    other = build("image-folder", path=str(photographs), size=20, seed=1)
    assert torch.equal(first.split("train").values, again.split("train").values)
    assert not torch.equal(first.split("train").values, other.split("train").values)
    assert shades(first) == shades(other)


def test_a_folder_is_decoded_once_until_its_images_change(photographs):
    build("image-folder", path=str(photographs), size=20)
    (cache,) = photographs.glob(".chainkit-20x20-colour-*.npy")
    written = cache.stat().st_mtime_ns
    build("image-folder", path=str(photographs), size=20)
    assert cache.stat().st_mtime_ns == written
    Image.new("RGB", (30, 30), (255, 255, 255)).save(photographs / "dogs" / "0.png")
    assert shades(build("image-folder", path=str(photographs), size=20))[-1] == 255


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\nrubbish", b"GIF89a"])
def test_a_damaged_image_is_named(photographs, content):
    path = photographs / "dogs" / "4.png"
    path.write_bytes(content)
    assert refused("image-folder", path=str(photographs), size=20).startswith(f"{path}: cannot be decoded")


def test_an_image_of_16_bits_is_refused(photographs):
    path = photographs / "dogs" / "4.png"
    Image.fromarray(np.full((20, 20), 3000, dtype=np.uint16)).save(path)
    assert (
        refused("image-folder", path=str(photographs), size=20)
        == f"{path}: cannot be decoded, more than 8 bits per channel; convert it to 8"
    )


def test_a_folder_without_images_is_refused(tmp_path):
    assert refused("image-folder", path=str(tmp_path)).startswith(f"{tmp_path}: no images in it")
    assert refused("image-folder", path=str(tmp_path / "absent")) == f"{tmp_path / 'absent'}: no such folder"
    Image.new("RGB", (4, 4)).save(tmp_path / "only.png")
    assert "1 image leave fewer than two to train on" in refused("image-folder", path=str(tmp_path))


def test_an_image_outside_any_class_is_refused_where_labels_are_wanted(photographs):
    Image.new("RGB", (4, 4)).save(photographs / "stray.png")
    assert refused("image-folder", path=str(photographs), labels=True).startswith(f"{photographs / 'stray.png'}: labels are wanted")
