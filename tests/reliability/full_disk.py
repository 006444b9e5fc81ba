"""A file system that is really full: a tmpfs of every size that is too small for the run."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from children import finish
from faults import lost
from leavings import Whole, leftovers
from study import Record, tally

PAGE = 4


@contextmanager
def mounted(folder: Path, kilobytes: int) -> Iterator[None]:
    """A tmpfs of so many KiB.

    Raises:
        PermissionError: It cannot be mounted.
    """
    folder.mkdir(parents=True)
    words = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(words, capture_output=True).returncode:
        raise PermissionError("a tmpfs cannot be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)
        folder.rmdir()


def full_disk(count: int, seed: int, folder: Path, method: str) -> Record:
    """Runs on a disk with too little room, ``count`` sizes of it; with more room the run is taken up.

    It must end with 4, leave nothing temporary and only sound bundles, and become the undisturbed run.
    """
    whole, random = Whole.of(method, folder), Random(f"{seed} {method}")
    try:
        with mounted(folder / "probe", PAGE):
            pass
    except PermissionError as error:
        return Record(tried=0, held=0, seconds=0, skipped=str(error))
    needed = sum(-(-path.stat().st_size // (PAGE * 1024)) * PAGE for path in (folder / "whole").rglob("*") if path.is_file())
    sizes = [random.randrange(PAGE, needed, PAGE) for _ in range(count)]
    where = Counter[str]()

    def trials() -> Iterator[str]:
        for number, size in enumerate(sizes):
            with mounted(folder / f"disk-{number}", size):
                fault = _fault_on(folder / f"disk-{number}", whole, where)
            yield fault and f"seed {seed}, {size} KiB of {needed}: {fault}"

    return tally(trials(), where=where)


def _fault_on(disk: Path, whole: Whole, where: Counter[str]) -> str:
    run, output = disk / "run", disk.with_suffix(".txt")
    ended = finish(whole.begin(run), output)
    if ended.code != 4 or "Traceback" in ended.said or os.strerror(errno.ENOSPC) not in ended.said or "saved" in ended.said:
        return f"it ends with {ended.code}: {ended.said[-1000:]}"
    where["after a checkpoint" if any((run / "checkpoints").glob("[0-9]*")) else "before the first checkpoint"] += 1
    if found := leftovers(disk):
        return f"it leaves {', '.join(found)}"
    manifests = {str(path.parent): path.read_text() for path in run.rglob("manifest.json")}
    subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
    return lost(manifests) or whole.fault(run, finish(whole.again(run), output))
