"""No space, no permission, an error of the disk: at every write, sync, rename and new folder of a run, one at a time."""

from __future__ import annotations

import builtins
import errno
import io
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import attrs
from children import finish
from leavings import Whole, leftovers
from study import Record, tally

ERRORS = (errno.ENOSPC, errno.EACCES, errno.EIO)
CALLS = ("fsync", "rename", "replace", "mkdir")


@attrs.define
class Disk:
    """A disk that fails once, below one folder; patched into a child.

    Arguments:
        folder: What lies elsewhere is left alone.
        note: A file outside: which calls were made, and which bundles there were when one failed.
        fails: Kind and number of the call that fails, or None.
        error: How.
        calls: Calls made so far, by kind.
    """

    folder: Path
    note: Path
    fails: tuple[str, int] | None = None
    error: int = errno.ENOSPC
    calls: Counter[str] = attrs.field(factory=Counter)

    def patch(self) -> None:
        """Puts it in the place of the system's calls."""
        from chainkit import bundle

        for name in CALLS:
            setattr(os, name, self._counted(name, getattr(os, name)))
        bundle.save_file = self._of_safetensors(bundle.save_file)
        io.open = builtins.open = self._opening(io.open)  # type: ignore[assignment]

    def count(self, kind: str, *names: str) -> None:
        """Counts a call.

        Arguments:
            kind: Its kind.
            names: The file that the system names in its error, where it does.

        Raises:
            OSError: It is the one that fails.
        """
        self.calls[kind] += 1
        failing = self.fails == (kind, self.calls[kind])
        self._keep(failing)
        if failing:
            raise OSError(self.error, os.strerror(self.error), *names)

    def _keep(self, failing: bool) -> None:
        """Writes down the calls, with means that are not patched."""
        manifests = {str(path.parent): path.read_text() for path in self.folder.rglob("[!.]*/manifest.json") if ".tmp" not in str(path)}
        text = json.dumps({"calls": self.calls, "fired": failing, "sound": manifests}) if failing or self.fails is None else ""
        if text:
            descriptor = os.open(self.note, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.write(descriptor, text.encode())
            os.close(descriptor)

    def _concerns(self, target: Any) -> bool:
        path = os.readlink(f"/proc/self/fd/{target}") if isinstance(target, int) else os.fspath(target)
        return Path(path).is_relative_to(self.folder)

    def _counted(self, kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(target: Any, *more: Any, **keywords: Any) -> Any:
            if self._concerns(target):
                self.count(kind, *([] if isinstance(target, int) else [os.fspath(target)]))
            return function(target, *more, **keywords)

        return call

    def _of_safetensors(self, function: Callable[..., Any]) -> Callable[..., Any]:
        import safetensors

        def save(tensors: Any, file: Path) -> None:
            function(tensors, file)
            try:
                self.count("save_file")
            except OSError as error:
                os.truncate(file, file.stat().st_size // 2)
                raise safetensors.SafetensorError(f"I/O error: {error.strerror}") from error

        return save

    def _opening(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """An ``open`` whose files count what reaches the system, not what stays in a buffer."""
        disk = self

        class Raw(io.FileIO):
            def write(self, content: Any) -> int | None:
                disk.count("write")
                return super().write(content)

        def opened(file: Any, mode: str = "r", buffering: int = -1, *text: Any, **more: Any) -> Any:
            if isinstance(file, int) or not set(mode) & set("wax") or not self._concerns(file):
                return function(file, mode, buffering, *text, **more)
            binary = io.BufferedWriter(Raw(file, mode.replace("b", "").replace("t", "")))
            return binary if "b" in mode else io.TextIOWrapper(binary, *text, **more)

        return opened


def faults(count: int, seed: int, folder: Path, method: str) -> Record:
    """Lets one call of a run fail, for every call and every error, or ``count`` of them drawn at random.

    The run must end with 4, in words, without a traceback and without having said that anything was
    saved; every bundle that was there must still be there, nothing temporary may be left, and taken up
    it must be the undisturbed run.
    """
    whole, random = Whole.of(method, folder), Random(f"{seed} {method}")
    note = folder / "calls.json"
    dry = finish(whole.begin(folder / "dry"), folder / "dry.txt", Disk(folder / "dry", note).patch)
    if fault := whole.fault(folder / "dry", dry):
        raise RuntimeError(f"counting the calls of a run changes it: {fault}")
    calls = json.loads(note.read_text())["calls"]
    points = [(kind, number + 1, error) for kind in calls for number in range(calls[kind]) for error in ERRORS]
    chosen = random.sample(points, count) if count < len(points) else points
    errors = Counter[str]()

    def trials() -> Iterator[str]:
        for kind, number, error in chosen:
            run = folder / f"{kind}-{number}-{error}"
            fault = _fault_of(Disk(run, note, (kind, number), error), whole)
            errors[os.strerror(error)] += 1
            shutil.rmtree(run, ignore_errors=True)
            yield fault and f"{os.strerror(error)} at {kind} {number}: {fault}"

    return tally(trials(), calls=calls, errors=errors)


def _fault_of(disk: Disk, whole: Whole) -> str:
    disk.note.unlink(missing_ok=True)
    ended = finish(whole.begin(disk.folder), disk.folder.with_suffix(".txt"), disk.patch)
    noted = json.loads(disk.note.read_text()) if disk.note.exists() else {"fired": False}
    if not noted["fired"]:
        return "it never happened"
    if ended.code != 4 or "Traceback" in ended.said or os.strerror(disk.error) not in ended.said or "saved" in ended.said:
        return f"it ends with {ended.code}: {ended.said[-1000:]}"
    if found := leftovers(disk.folder):
        return f"it leaves {', '.join(found)}"
    return lost(noted["sound"]) or whole.fault_of_resuming(disk.folder)


def lost(before: dict[str, str]) -> str:
    """Which bundles of those that were there are not as they were.

    Arguments:
        before: Manifests, by folder.
    """
    from chainkit.bundle import verify
    from chainkit.errors import CheckpointError

    for folder, manifest in before.items():
        try:
            verify(Path(folder))
        except CheckpointError as error:
            return f"a checkpoint is lost: {error}"
        if (Path(folder) / "manifest.json").read_text() != manifest:
            return f"{folder} is another one"
    return ""
