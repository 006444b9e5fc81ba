"""kill -9 under torchrun itself: of one of the two processes that it starts, or of all and torchrun too."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random

from children import LIMIT, Ended, unprepared
from leavings import Whole
from ranks import SIZE
from study import Record, tally
from tiny_recipes import UPDATES

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(SIZE)]
SLOW = str(Path(__file__).with_name("slow_chainkit.py"))
VICTIMS = ("leader", "other", "all")
SAVE = 0.3
"""About as many seconds does a slowed save take."""


def torchrun(words: Sequence[str], output: Path, before: Callable[[], object] = unprepared) -> Ended:
    """Runs ``torchrun -m chainkit WORDS`` to its end; the arguments are those of :func:`children.finish`.

    What comes before cannot be told to processes that torchrun starts.
    """
    del before
    return _ended(_start(["-m", "chainkit", *words], output), output)


def _start(words: Sequence[str], output: Path) -> subprocess.Popen[bytes]:
    with output.open("wb") as file:
        return subprocess.Popen([*TORCHRUN, *words], stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True)


def _ended(process: subprocess.Popen[bytes], output: Path) -> Ended:
    code = process.wait(timeout=LIMIT)
    return Ended(code if code >= 0 else 128 - code, output.read_text(encoding="utf-8", errors="replace"))


def torchrun_kills(count: int, seed: int, folder: Path, method: str) -> Record:
    """Kills a run under torchrun ``count`` times, each time from its start: the first process, the second, or all and torchrun.

    Every other kill waits for a checkpoint that is being written, the others for a random time. Where one
    is killed, torchrun must end; taken up under torchrun, the run must be the one that was never killed.
    """
    began = time.monotonic()
    whole, random, where, who = Whole.of(method, folder, launch=torchrun), Random(f"{seed} {method}"), Counter[str](), Counter[str]()
    seconds = time.monotonic() - began

    def trials() -> Iterator[str]:
        tried = 0
        while tried < count:
            run, victims = folder / f"run-{tried}", VICTIMS[tried // 2 % len(VICTIMS)]
            update = random.randrange(1, 4) * UPDATES // 3 if tried % 2 else None
            fault = _kill(whole, run, victims, update, random.uniform(0, SAVE if update else seconds), where)
            shutil.rmtree(run, ignore_errors=True)
            if fault is not None:
                tried += 1
                who[victims] += 1
                yield fault and f"seed {seed}, kill {tried}, {victims}, {f'checkpoint {update}' if update else 'by time'}: {fault}"

    return tally(trials(), where=where, killed=who)


def _kill(whole: Whole, run: Path, victims: str, update: int | None, seconds: float, where: Counter[str]) -> str | None:
    """What goes wrong when a run is killed and taken up; None if it had ended before it could be killed."""
    output = run.with_name(f"{run.name}.txt")
    process = _start([SLOW, *whole.begin(run)], output)
    if update is not None:
        _wait_for(run / "checkpoints" / f".{update:08d}.tmp", process)
    time.sleep(seconds)
    saving, begun = any((run / "checkpoints").glob(".*.tmp")), (run / "checkpoints").is_dir()
    _kill_processes(process, victims)
    ended = _ended(process, output)
    if ended.code == 0:
        return None
    where["inside a save" if saving else "elsewhere" if begun else "before the first save"] += 1
    return f"it says {ended.said[-1000:]}" if "a bug of" in ended.said else whole.fault_of_resuming(run)


def _wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    while not path.exists() and process.poll() is None:
        time.sleep(0.001)


def _kill_processes(process: subprocess.Popen[bytes], victims: str) -> None:
    """Kills some; where there are none yet, torchrun dies."""
    found = _processes(process.pid)
    if victims == "all" or len(found) < SIZE:
        process.kill()
        chosen = list(found.values())
    else:
        chosen = [found[VICTIMS.index(victims)]]
    for pid in chosen:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _processes(parent: int) -> dict[int, int]:
    """What torchrun has started: process numbers by rank."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            stat, environment = (folder / "stat").read_text(), (folder / "environ").read_bytes()
            rank = re.search(rb"(?:^|\0)RANK=(\d+)", environment)
            if rank and int(stat.rpartition(")")[2].split()[1]) == parent:
                found[int(rank[1])] = int(folder.name)
    return found
