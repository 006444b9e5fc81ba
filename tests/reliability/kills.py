"""kill -9 at random moments, many of them inside a save that is slowed down on purpose."""

from __future__ import annotations

import mmap
import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

from children import Child, start
from leavings import Whole
from study import Record, tally


class Slowed:
    """A child's saves, slowed down, and how far it has come, seen from the parent.

    Arguments:
        pause: Seconds before and after every call that changes the disk.

    Attributes:
        steps: Calls that change the disk, so far.
        saving: Whether a bundle is being written.
        updates: Updates done.
    """

    def __init__(self, pause: float = 0.002) -> None:
        self.pause = pause
        self.shared = memoryview(mmap.mmap(-1, 24)).cast("q")

    @property
    def steps(self) -> int:
        return self.shared[0]

    @property
    def saving(self) -> bool:
        return bool(self.shared[1])

    @property
    def updates(self) -> int:
        return self.shared[2]

    def patch(self) -> None:
        """Slows down the process that calls it."""
        from chainkit import bundle, saving
        from chainkit.training import Trainer

        for module, name in ((os, "fsync"), (os, "rename"), (os, "replace"), (os, "mkdir"), (bundle, "save_file")):
            setattr(module, name, self._slow(getattr(module, name)))
        saving.write_bundle = self._noting(1, saving.write_bundle)
        Trainer._update = self._counting(Trainer._update)

    def _slow(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def slow(*arguments: Any, **keywords: Any) -> Any:
            self.shared[0] += 1
            time.sleep(self.pause)
            try:
                return function(*arguments, **keywords)
            finally:
                time.sleep(self.pause)

        return slow

    def _noting(self, place: int, function: Callable[..., Any]) -> Callable[..., Any]:
        def noting(*arguments: Any, **keywords: Any) -> Any:
            self.shared[place] = 1
            try:
                return function(*arguments, **keywords)
            finally:
                self.shared[place] = 0

        return noting

    def _counting(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*arguments: Any, **keywords: Any) -> Any:
            result = function(*arguments, **keywords)
            self.shared[2] += 1
            return result

        return counting


def slowed_run(whole: Whole, folder: Path, patch: Callable[[Slowed], Callable[[], object]]) -> tuple[float, int]:
    """How many seconds a slowed run takes that is not killed, and how many steps its saves have.

    Arguments:
        whole: The run.
        folder: Where to.
        patch: What slows a process down, called in it first.

    Raises:
        RuntimeError: It is another run than the one that is not slowed.
    """
    slowed, began = Slowed(), time.monotonic()
    ended = whole.launch(whole.begin(folder / "slow"), folder / "slow.txt", patch(slowed))
    seconds = time.monotonic() - began
    if fault := whole.fault(folder / "slow", ended):
        raise RuntimeError(f"a slowed run is another one: {fault}")
    return seconds, slowed.steps


def kills(count: int, seed: int, folder: Path, method: str) -> Record:
    """Kills a run ``count`` times, each time from its start; resumed, it must be the run that was never killed.

    Every other kill waits for a random step of a save, the others for a random time.
    """
    whole, random, where = Whole.of(method, folder), Random(f"{seed} {method}"), Counter[str]()
    seconds, steps = slowed_run(whole, folder, lambda slowed: slowed.patch)

    def trials() -> Iterator[str]:
        tried = 0
        while tried < count:
            run = folder / f"run-{tried}"
            aim = random.randrange(1, steps + 1) if tried % 2 else None
            fault = _kill(whole, run, aim, random.uniform(0, seconds), where)
            shutil.rmtree(run, ignore_errors=True)
            if fault is not None:
                tried += 1
                yield fault and f"seed {seed}, kill {tried}, {f'step {aim} of {steps}' if aim else 'by time'}: {fault}"

    return tally(trials(), where=where)


def _kill(whole: Whole, run: Path, step: int | None, seconds: float, where: Counter[str]) -> str | None:
    """What goes wrong when a run is killed and taken up; None if it had ended before it could be killed."""
    slowed = Slowed()
    child = start(whole.begin(run), run.with_name(f"{run.name}.txt"), slowed.patch)
    if step is None:
        time.sleep(seconds)
    else:
        wait_for(child, slowed, step)
    child.kill()
    ended = child.wait()
    if ended.code != 128 + signal.SIGKILL:
        return None if ended.code == 0 else f"before it was killed it ended with {ended.code}: {ended.said[-500:]}"
    moment = "inside a save" if slowed.saving else "before the first update" if not slowed.updates else "elsewhere"
    where[moment] += 1
    return whole.fault_of_resuming(run)


def wait_for(child: Child, slowed: Slowed, step: int) -> None:
    """Waits until a step of a child begins, or the child has ended, which is left to be waited for."""
    while slowed.steps < step and os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        time.sleep(0.0002)
