"""Files on disk, written whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chainkit.errors import CheckpointError, RunBusyError

LOCK = "lock"
"""The file in a folder that the process which works there holds."""


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Errors of the disk name this path: those of writing and syncing name none, others a temporary file."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno or errno.EIO, error.strerror or str(error), str(path)) from error


def sync(path: Path) -> None:
    """Flushes a file or folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Removes a file or folder in one step as far as its name goes: a process that is killed leaves no half of it under that name.

    Arguments:
        path: What to remove.

    Raises:
        OSError: It cannot be removed; it is intact then.
    """
    if path.is_dir() and not path.is_symlink():
        temporary = path.with_name(f".{path.name}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        os.rename(path, temporary)
        shutil.rmtree(temporary, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def tidy(folder: Path) -> None:
    """Ends what a killed writer left half done: what had to make way for its successor comes back if that is not there.

    Arguments:
        folder: Where nobody else writes; it need not exist. What is called ``.NAME.old`` and
            ``.NAME.tmp`` there is taken for ours.

    Raises:
        OSError: The disk is not writable.
    """
    with naming(folder):
        for old in sorted(folder.glob(".*.old")):
            path = folder / old.name.removeprefix(".").removesuffix(".old")
            if path.exists():
                shutil.rmtree(old)
            else:
                os.rename(old, path)
        for temporary in folder.glob(".*.tmp"):
            if temporary.is_dir():
                shutil.rmtree(temporary)
            else:
                temporary.unlink()


def require_plain(folder: Path) -> None:
    """Makes sure that all below a folder are files and folders, so that nothing is read or written elsewhere through it.

    Arguments:
        folder: The folder; it may itself be reached by a link.

    Raises:
        CheckpointError: There is a link, a device or a pipe; the message names it.
    """
    for place, folders, files in os.walk(folder):
        for path in (Path(place, name) for name in sorted(folders + files)):
            try:
                mode = path.lstat().st_mode
            except FileNotFoundError:  # removed since, by the process that holds the folder
                continue
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise CheckpointError(f"{path}: neither a file nor a folder, and nothing else is read or written here; remove it")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds a folder for this process; the lock goes with the process, however it ends.

    Arguments:
        folder: The folder, which exists. Its lock file stays there.

    Raises:
        RunBusyError: Another process holds it, or has just removed it.
        OSError: The disk is full or not writable.
    """
    lock = folder / LOCK
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            own = os.path.samestat(os.fstat(file.fileno()), lock.stat())
        except (BlockingIOError, FileNotFoundError):
            own = False
        if not own:
            raise RunBusyError(f"{folder}: in use by another process")
        yield


def write_file(path: Path, content: bytes) -> None:
    """Writes a file beside its final name, syncs and renames it.

    Arguments:
        path: Its final name.
        content: All of it.

    Raises:
        OSError: The disk is full or not writable; an existing file is intact, no temporary one left.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    with naming(path):
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        sync(path.parent)


def write_text(path: Path, text: str) -> None:
    """Writes text as :func:`write_file` does."""
    write_file(path, text.encode())
