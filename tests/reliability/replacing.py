"""kill -9 while a checkpoint is replaced by another one of the same update, at every step of that in turn."""

from __future__ import annotations

import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

from children import finish, start
from kills import Slowed, wait_for
from leavings import Whole
from stops import Aim
from study import Record, tally

PAUSE = 0.02
"""Seconds before and after every step, so that a kill meets the step that it is aimed at on a busy machine, too."""


def replacing(count: int, seed: int, folder: Path, method: str) -> Record:
    """Kills ``count`` runs that were stopped while they validated, taken up, and stopped there once more.

    Their only checkpoint is written a second time then. The resumed run must go on from it, not from
    the start, and must be the undisturbed one.
    """
    whole, random, where = Whole.of(method, folder), Random(f"{seed} {method}"), Counter[str]()
    stopped, dry, slowed = folder / "stopped", folder / "dry", Slowed(PAUSE)
    finish(whole.begin(stopped), folder / "stopped.txt", _stopped)
    shutil.copytree(stopped, dry)
    ended = finish(whole.again(dry), folder / "dry.txt", lambda: (_stopped(), slowed.patch()))
    if ended.code != 128 + signal.SIGTERM:
        raise RuntimeError(f"a run of {method} that is to be stopped twice ends with {ended.code}:\n{ended.said}")
    steps = slowed.steps
    order = random.sample(range(1, steps + 1), steps)

    def trials() -> Iterator[str]:
        for number in range(count):
            run, step = folder / f"run-{number}", order[number % steps]
            shutil.copytree(stopped, run)
            fault = _killed(whole, run, step, where)
            shutil.rmtree(run)
            yield fault and f"seed {seed}, step {step} of {steps}: {fault}"

    return tally(trials(), where=where)


def _stopped() -> None:
    """The process that calls it is stopped in its next validation."""
    Aim("evaluation", 1, (signal.SIGTERM,)).patch()


def _killed(whole: Whole, run: Path, step: int, where: Counter[str]) -> str:
    slowed = Slowed(PAUSE)
    child = start(whole.again(run), run.with_name(f"{run.name}.txt"), lambda: (_stopped(), slowed.patch()))
    wait_for(child, slowed, step)
    child.kill()
    child.wait()
    where["elsewhere" if any((run / "checkpoints").glob("[0-9]*")) else "between the renames"] += 1
    ended = finish(whole.again(run), run.with_name(f"{run.name}-again.txt"))
    return "it starts again" if "from the start" in ended.said else whole.fault(run, ended)
