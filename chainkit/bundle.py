"""Tensors and plain data on disk, without pickle and never half written.

A bundle is a folder: one safetensors file per group of tensors, ``state.json``, and a
``manifest.json``, written last, with the size and sha256 of every other file. It is written
beside its final name, synced, renamed, and the parent folder synced, so that a bundle with its
final name is complete. Reading verifies before anything is parsed; the digests find damage, not
forgery.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import safetensors
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from chainkit.errors import CheckpointError, lacks_memory
from chainkit.files import naming, sync

Tensors: TypeAlias = dict[str, Tensor]

MANIFEST = "manifest.json"
STATE = "state.json"


def _digest(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "size": path.stat().st_size}


def _plain(tensor: Tensor) -> Tensor:
    # A contiguous clone: safetensors refuses tensors that share memory or are laid out otherwise.
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def _save(tensors: Tensors, file: Path) -> None:
    try:
        save_file(tensors, file)
    except safetensors.SafetensorError as error:  # how a full disk shows itself there
        raise OSError(errno.EIO, str(error)) from error


def write_bundle(path: Path, groups: Mapping[str, Tensors], state: Any) -> None:
    """Writes a bundle; an existing one of the same name is replaced only once the new one is complete.

    Arguments:
        path: The folder to be.
        groups: Groups of named tensors, one file each.
        state: JSON data.

    A process that is killed may leave ``.NAME.tmp``, and ``.NAME.old`` in place of an existing bundle;
    :func:`chainkit.files.tidy` puts that right.

    Raises:
        OSError: The disk is full or not writable; an existing bundle is intact, no temporary file left.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    with naming(path):
        try:
            temporary.mkdir(parents=True)
            for group, tensors in groups.items():
                _save({name: _plain(tensor) for name, tensor in tensors.items()}, temporary / f"{group}.safetensors")
            (temporary / STATE).write_text(json.dumps(state, indent=1), encoding="utf-8")
            files = sorted(temporary.iterdir())
            for file in files:
                sync(file)
            manifest = {file.name: _digest(file) for file in files}
            (temporary / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
            sync(temporary / MANIFEST)
            sync(temporary)
            _replace(temporary, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _replace(temporary: Path, path: Path) -> None:
    old = path.with_name(f".{path.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    try:
        if path.exists():
            os.rename(path, old)
        os.rename(temporary, path)
        sync(path.parent)
    except BaseException:  # a second SIGINT, too
        if old.exists():
            shutil.rmtree(path, ignore_errors=True)
            os.rename(old, path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def verify(path: Path) -> None:
    """Compares every file of a bundle with the manifest.

    Raises:
        CheckpointError: A file is missing, damaged or not in the manifest; the message names it.
    """
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        listed = {name: (entry["size"], entry["sha256"]) for name, entry in manifest.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path / MANIFEST}: unreadable ({type(error).__name__})") from error
    present = {file.name for file in path.iterdir()} - {MANIFEST}
    if present != set(listed):
        raise CheckpointError(f"{path}: files are {sorted(present)}, the manifest lists {sorted(listed)}")
    for name, expected in listed.items():
        file = path / name
        if file.is_symlink() or not file.is_file():
            raise CheckpointError(f"{file}: not a plain file")
        try:
            found = _digest(file)
        except OSError as error:
            raise CheckpointError(f"{file}: unreadable ({error.strerror})") from error
        if (found["size"], found["sha256"]) != expected:
            raise CheckpointError(f"{file}: damaged (size or sha256 differs from the manifest)")


def read_bundle(path: Path) -> tuple[dict[str, Tensors], Any]:
    """Verifies and reads a bundle.

    Returns:
        The groups of tensors, on the CPU, and the JSON data.

    Raises:
        CheckpointError: The bundle is damaged; the message names the file.
    """
    verify(path)
    try:
        groups = {file.stem: load_file(file) for file in sorted(path.glob("*.safetensors"))}
        return groups, json.loads((path / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError, OverflowError, RecursionError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path}: unreadable ({error})") from error


@contextmanager
def as_written(path: Path) -> Iterator[None]:
    """What is sound but not what a run writes, such as a forged state, is an error of the checkpoint; want of memory is none.

    Arguments:
        path: The bundle whose content is used inside.

    Raises:
        CheckpointError: The content cannot be used.
    """
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError, RuntimeError) as error:
        if lacks_memory(error):
            raise
        words = (str(error) or type(error).__name__).splitlines()[0]
        raise CheckpointError(f"{path}: not as a run writes it ({type(error).__name__}: {words})") from error
