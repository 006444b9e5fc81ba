"""Bundles on disk: what was written comes back, damage is found and named, a failed write harms nothing."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from chainkit import bundle
from chainkit.bundle import as_written, read_bundle, verify, write_bundle
from chainkit.errors import CheckpointError, lacks_memory
from chainkit.files import remove, tidy, write_text

GROUPS = {
    "model": {"layer.weight": torch.arange(6.0).view(2, 3), "layer.bias": torch.tensor([0.1, float("nan"), -float("inf")])},
    "optimizer": {"model/0/step": torch.tensor(3.0), "model/0/mask": torch.tensor([True, False])},
    "empty": {},
}
STATE = {"update": 3, "nested": {"best": None, "loss": 0.1 + 0.2, "names": ["a", "ü"]}}


@pytest.fixture
def written(tmp_path: Path) -> Path:
    write_bundle(tmp_path / "bundle", GROUPS, STATE)
    return tmp_path / "bundle"


def assert_same(path: Path, groups, state) -> None:
    found, found_state = read_bundle(path)
    assert found_state == state
    assert {name: set(tensors) for name, tensors in found.items()} == {name: set(tensors) for name, tensors in groups.items()}
    for group, tensors in groups.items():
        for name, tensor in tensors.items():
            assert found[group][name].dtype == tensor.dtype
            torch.testing.assert_close(found[group][name], tensor, rtol=0, atol=0, equal_nan=True)


def test_round_trip(written):
    assert_same(written, GROUPS, STATE)
    assert sorted(file.name for file in written.parent.iterdir()) == ["bundle"]


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.int32, torch.uint8, torch.bool]
)
def test_every_type_round_trips(tmp_path, dtype):
    groups = {"t": {"scalar": torch.tensor(1).to(dtype), "vector": torch.arange(5).to(dtype), "nothing": torch.empty(0, 3, dtype=dtype)}}
    write_bundle(tmp_path / "b", groups, None)
    assert_same(tmp_path / "b", groups, None)


def test_tensors_that_share_memory_or_are_laid_out_otherwise(tmp_path):
    base = torch.arange(24.0).view(2, 3, 2, 2)
    tensors = {
        "base": base,
        "view": base[1:],
        "transposed": base.flatten(1).T,
        "last": base.to(memory_format=torch.channels_last),
        "wide": torch.ones(1).expand(5),
    }
    parameter = torch.nn.Parameter(base.clone())
    write_bundle(tmp_path / "b", {"t": {**tensors, "parameter": parameter}}, None)
    assert_same(tmp_path / "b", {"t": {**tensors, "parameter": parameter.detach()}}, None)


def test_the_parent_is_made(tmp_path):
    write_bundle(tmp_path / "deep" / "down" / "b", {}, {"a": 1})
    assert read_bundle(tmp_path / "deep" / "down" / "b") == ({}, {"a": 1})


def test_writing_again_replaces_the_whole(written):
    write_bundle(written, {"other": {"x": torch.ones(2)}}, {"update": 4})
    assert_same(written, {"other": {"x": torch.ones(2)}}, {"update": 4})
    assert sorted(file.name for file in written.parent.iterdir()) == ["bundle"]


FILES = ["manifest.json", "state.json", "model.safetensors", "optimizer.safetensors", "empty.safetensors"]


def refused(path: Path, name: str) -> bool:
    """Whether the bundle is refused with a message that names the file."""
    try:
        read_bundle(path)
    except CheckpointError as error:
        return name in str(error)
    return False


@pytest.mark.parametrize("name", FILES)
def test_every_truncation_is_found_and_named(written, name):
    content = (written / name).read_bytes()
    for length in range(len(content)):
        (written / name).write_bytes(content[:length])
        assert refused(written, name), f"cut to {length} bytes"
    (written / name).write_bytes(content)
    assert_same(written, GROUPS, STATE)


@pytest.mark.parametrize("name", FILES)
def test_every_flipped_bit_is_found_and_named(written, name):
    content = (written / name).read_bytes()
    for position in range(len(content)):
        for bit in range(8) if name == "manifest.json" else (position % 8,):
            damaged = bytearray(content)
            damaged[position] ^= 1 << bit
            (written / name).write_bytes(bytes(damaged))
            with pytest.raises(CheckpointError) as caught:
                read_bundle(written)
            # A flip in what the manifest says of a file is told as the two not going together.
            assert ("manifest" if name == "manifest.json" else name) in str(caught.value)


@pytest.mark.parametrize("name", FILES)
def test_missing_files_are_named(written, name):
    (written / name).unlink()
    assert refused(written, name)


def test_what_does_not_belong_is_named(written):
    (written / "extra").write_text("")
    assert refused(written, "extra")
    (written / "extra").unlink()
    (written / "state.json").rename(written.parent / "elsewhere")
    (written / "state.json").symlink_to(written.parent / "elsewhere")
    with pytest.raises(CheckpointError, match=r"state\.json: not a plain file"):
        verify(written)


def test_files_of_another_bundle_are_found(written, tmp_path):
    write_bundle(tmp_path / "other", GROUPS, {"update": 9})
    shutil.copy(tmp_path / "other" / "state.json", written / "state.json")
    assert refused(written, "state.json")


@pytest.mark.parametrize("manifest", ["", "[]", "3", '{"state.json": 3}', '{"state.json": {"size": 1}}', "\xff", "null"])
def test_a_manifest_that_is_something_else_is_refused(written, manifest):
    (written / "manifest.json").write_text(manifest, encoding="latin-1")
    assert refused(written, "manifest.json") or refused(written, "the manifest lists")


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"absent.manifest\.json"):
        read_bundle(tmp_path / "absent")


def test_a_consistent_manifest_does_not_make_garbage_readable(written):
    (written / "model.safetensors").write_bytes(b"\x80\x04garbage")
    manifest = json.loads((written / "manifest.json").read_text())
    manifest["model.safetensors"] = bundle._digest(written / "model.safetensors")
    (written / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="unreadable"):
        read_bundle(written)


def test_a_disk_that_fails_while_reading_is_told_as_damage(written, monkeypatch):
    def broken(path: Path) -> dict:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(bundle, "_digest", broken)
    with pytest.raises(CheckpointError, match=r"empty\.safetensors: unreadable \(Input/output error\)"):
        verify(written)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
        ),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
    ],
)
def test_want_of_memory_is_no_damage(error, tmp_path):
    with pytest.raises(type(error)) as caught, as_written(tmp_path):
        raise error
    assert caught.value is error
    with pytest.raises(CheckpointError, match="not as a run writes it"), as_written(tmp_path):
        raise RuntimeError("shapes differ")


def test_memory_that_torch_cannot_have_is_told_from_other_trouble():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    assert lacks_memory(caught.value)
    with pytest.raises(RuntimeError) as caught:
        torch.ones(2) @ torch.ones(3)
    assert not lacks_memory(caught.value)


class FullDisk:
    """Lets ``calls`` calls of each named function pass, then fails once."""

    def __init__(self, monkeypatch, module, name: str, calls: int) -> None:
        self.function, self.left = getattr(module, name), calls
        monkeypatch.setattr(module, name, self)

    def __call__(self, *arguments, **keywords):
        self.left -= 1
        if self.left == -1:
            raise OSError(28, "No space left on device")
        return self.function(*arguments, **keywords)


@pytest.mark.parametrize(
    ("module", "name", "most"), [(os, "fsync", 7), (os, "rename", 2), (bundle, "save_file", 3), (Path, "mkdir", 1), (Path, "write_text", 2)]
)
def test_a_failed_write_leaves_the_old_bundle_and_nothing_else(written, monkeypatch, module, name, most):
    for calls in range(most):
        with monkeypatch.context() as patched:
            if module is Path:
                patched.setattr(Path, name, failing_method(getattr(Path, name), calls))
            else:
                FullDisk(patched, module, name, calls)
            with pytest.raises(OSError, match="No space left"):
                write_bundle(written, {"model": {"x": torch.ones(1)}, "b": {}, "c": {}}, {"update": 4})
        assert_same(written, GROUPS, STATE)
        assert [file.name for file in written.parent.iterdir()] == ["bundle"], f"after {calls} calls"


def failing_method(method, calls: int):
    left = [calls]

    def fail(self, *arguments, **keywords):
        left[0] -= 1
        if left[0] == -1:
            raise OSError(28, "No space left on device")
        return method(self, *arguments, **keywords)

    return fail


def test_a_failed_first_write_leaves_nothing(tmp_path, monkeypatch):
    FullDisk(monkeypatch, os, "fsync", 2)
    with pytest.raises(OSError, match="No space left"):
        write_bundle(tmp_path / "bundle", GROUPS, STATE)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_inside_safetensors_is_an_oserror(written, monkeypatch):
    def full(*arguments, **keywords):
        raise bundle.safetensors.SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(bundle, "save_file", full)
    with pytest.raises(OSError, match="No space left"):
        write_bundle(written, GROUPS, {"update": 4})
    assert_same(written, GROUPS, STATE)
    assert [file.name for file in written.parent.iterdir()] == ["bundle"]


def test_state_that_is_no_json_leaves_the_old_bundle(written):
    with pytest.raises(TypeError):
        write_bundle(written, GROUPS, {"tensor": torch.ones(1)})
    assert_same(written, GROUPS, STATE)
    assert [file.name for file in written.parent.iterdir()] == ["bundle"]


def test_leftovers_of_a_killed_writer_are_no_obstacle(written):
    for leftover in (".bundle.tmp", ".bundle.old"):
        (written.parent / leftover).mkdir()
        (written.parent / leftover / "half").write_text("")
    write_bundle(written, GROUPS, {"update": 4})
    assert read_bundle(written)[1] == {"update": 4}
    assert [file.name for file in written.parent.iterdir()] == ["bundle"]


@pytest.mark.parametrize("killed_after", ["the old one made way", "the new one took its place"])
def test_a_writer_killed_between_its_renames_leaves_a_bundle(written, killed_after):
    shutil.copytree(written, written.parent / ".bundle.old")
    shutil.copytree(written, written.parent / ".bundle.tmp")
    if killed_after == "the old one made way":
        shutil.rmtree(written)
    else:
        (written.parent / ".bundle.tmp" / "state.json").write_text("half")
    (written.parent / ".note.json.tmp").write_text("half")
    tidy(written.parent)
    assert_same(written, GROUPS, STATE)
    assert [file.name for file in written.parent.iterdir()] == ["bundle"]


@pytest.mark.parametrize("calls", [1, 2])
def test_a_second_signal_beside_a_rename_harms_nothing(written, monkeypatch, calls):
    rename, names = os.rename, []

    def stopped(source, target):
        rename(source, target)
        names.append(target)
        if len(names) == calls:
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "rename", stopped)
    with pytest.raises(KeyboardInterrupt):
        write_bundle(written, {}, {"update": 4})
    assert_same(written, GROUPS, STATE)
    assert [file.name for file in written.parent.iterdir()] == ["bundle"]


def test_a_bundle_is_removed_under_another_name(written, monkeypatch):
    """So that a process that is killed on the way leaves no half of a bundle under its own."""
    names = []
    monkeypatch.setattr(shutil, "rmtree", lambda path, **keywords: names.append(path.name))
    remove(written)
    assert set(names) == {".bundle.tmp"}
    assert not written.exists()


def test_text_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "evaluation.json"
    write_text(path, "första")
    for name in ("fsync", "replace"):
        with monkeypatch.context() as patched:
            FullDisk(patched, os, name, 0)
            with pytest.raises(OSError, match="No space left"):
                write_text(path, "second")
        assert path.read_text(encoding="utf-8") == "första"
        assert [file.name for file in tmp_path.iterdir()] == ["evaluation.json"]
