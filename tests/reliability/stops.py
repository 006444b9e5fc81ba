"""SIGTERM, SIGINT and SIGHUP in every phase of a run, a second SIGINT, and signals while a process starts."""

from __future__ import annotations

import mmap
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import attrs
from children import Ended, finish, unprepared
from leavings import Whole
from study import Record, tally
from tiny_recipes import UPDATES

PHASES = ("start-up", "first batch", "training", "evaluation", "sampling", "saving")
CALLS = {"start-up": 3, "first batch": 1, "training": UPDATES - 1, "evaluation": 4, "sampling": 2, "saving": 34}
"""How many moments of each phase are told apart, in the order in which a run comes to them."""


@attrs.define
class Aim:
    """A moment at which a process sends itself signals, and what it does after the last of them.

    Arguments:
        phase: One of :data:`PHASES`.
        call: Which of the moments of the phase, from 1.
        numbers: The signals, one right after the other.
        calls: Moments of the phase so far.
        saves: Saves begun so far.
        shared: Signals sent, updates and saves begun after them, seen from the parent.
    """

    phase: str
    call: int
    numbers: tuple[int, ...]
    calls: int = 0
    saves: int = 0
    shared: memoryview = attrs.field(factory=lambda: memoryview(mmap.mmap(-1, 24)).cast("q"))

    @property
    def after(self) -> tuple[int, int]:
        """Updates and saves that were begun after the signals."""
        return self.shared[1], self.shared[2]

    def patch(self) -> None:
        """Aims at the process that calls it."""
        from chainkit import run, unfinished
        from chainkit.chain import Chain
        from chainkit.cli import group, work
        from chainkit.metrics import MetricsLog
        from chainkit.session import Session
        from chainkit.training import Trainer

        self._before(group, "load_plugins", "start-up")
        self._before(work, "new_run", "start-up")
        self._before(run, "build_data", "start-up")
        self._before(Session, "_validate", "evaluation")
        self._before(unfinished.Unfinished, "_estimate", "evaluation")
        self._before(Chain, "sample", "sampling")
        self._before(Trainer, "_update", "")
        self._before(MetricsLog, "sync", "write")  # every save begins with it
        self._before(os, "fsync", "sync")

    def _before(self, owner: Any, name: str, phase: str) -> None:
        function: Callable[..., Any] = getattr(owner, name)

        def call(*arguments: Any, **keywords: Any) -> Any:
            where = phase or ("training" if arguments[0].progress.update else "first batch")
            self._reach(where)
            return function(*arguments, **keywords)

        setattr(owner, name, call)

    def _reach(self, phase: str) -> None:
        self.saves += phase == "write"
        if phase == "sync" and self.saves:
            phase = "saving"
        if self.shared[0]:
            self.shared[1] += phase in ("training", "first batch")
            self.shared[2] += phase == "write"
        self.calls += phase == self.phase
        if phase == self.phase and self.calls == self.call and not self.shared[0]:
            self.shared[0] = 1
            for number in self.numbers:
                os.kill(os.getpid(), number)


def stops(count: int, seed: int, folder: Path, method: str) -> Record:
    """Stops ``count`` runs, half by SIGTERM and half by SIGINT, in each phase in turn.

    A run must leave with 143 or 130 after at most one update and one save more, and taken up it must
    be the undisturbed run.
    """
    return _stopped([(signal.SIGTERM,), (signal.SIGINT,)], count, seed, folder, method)


def hangups(count: int, seed: int, folder: Path, method: str) -> Record:
    """Sends ``count`` runs SIGHUP, every other one twice, as where a session is lost; the same must hold, with 129."""
    return _stopped([(signal.SIGHUP,), (signal.SIGHUP, signal.SIGHUP)], count, seed, folder, method)


def _stopped(numbers: Sequence[tuple[int, ...]], count: int, seed: int, folder: Path, method: str) -> Record:
    whole, random, phases = Whole.of(method, folder), Random(f"{seed} {method}"), Counter[str]()

    def trials() -> Iterator[str]:
        for tried in range(count):
            phase = PHASES[tried // len(numbers) % len(PHASES)]
            aim = Aim(phase, random.randint(1, CALLS[phase]), numbers[tried % len(numbers)])
            phases[phase] += 1
            yield _named(seed, aim, _fault_of(aim, whole, folder / f"run-{tried}", most=(1, 1)))

    return tally(trials(), phases=phases)


def insisting(count: int, seed: int, folder: Path, method: str) -> Record:
    """Sends ``count`` runs two SIGINT at once: nothing may be begun after the second, and taken up it is the undisturbed run."""
    whole, random, phases = Whole.of(method, folder), Random(f"{seed} {method}"), Counter[str]()

    def trials() -> Iterator[str]:
        for tried in range(count):
            phase = PHASES[1:][tried % (len(PHASES) - 1)]
            aim = Aim(phase, random.randint(1, CALLS[phase]), (signal.SIGINT, signal.SIGINT))
            phases[phase] += 1
            yield _named(seed, aim, _fault_of(aim, whole, folder / f"run-{tried}", most=(0, 0)))

    return tally(trials(), phases=phases)


def _named(seed: int, aim: Aim, fault: str) -> str:
    return fault and f"seed {seed}, {signal.Signals(aim.numbers[0]).name}, {aim.phase} {aim.call}: {fault}"


def _fault_of(aim: Aim, whole: Whole, run: Path, most: tuple[int, int]) -> str:
    ended = finish(whole.begin(run), run.with_name(f"{run.name}.txt"), aim.patch)
    if not aim.shared[0]:
        return f"this moment never came (code {ended.code}): {ended.said[-500:]}"
    if fault := _fault_of_end(ended, aim.numbers[0]):
        return fault
    if aim.after[0] > most[0] or aim.after[1] > most[1]:
        return f"after the signal it made {aim.after[0]} updates and {aim.after[1]} saves"
    fault = whole.fault_of_resuming(run)
    shutil.rmtree(run)
    return fault


def _fault_of_end(ended: Ended, number: int) -> str:
    if ended.code != 128 + number:
        return f"it ends with {ended.code}: {ended.said[-1000:]}"
    return f"it says {ended.said[-1000:]}" if "Traceback" in ended.said else ""


def starting(count: int, seed: int, folder: Path, method: str) -> Record:
    """Sends signals to ``count`` new processes at random times before they train; the command given again runs to its end."""
    whole, random, codes = Whole.of(method, folder, unprepared), Random(f"{seed} {method}"), Counter[int]()

    def trials() -> Iterator[str]:
        for tried in range(count):
            run, number, seconds = folder / f"run-{tried}", (signal.SIGTERM, signal.SIGINT)[tried % 2], random.uniform(0.3, 3.0)
            ended = _started(whole.begin(run), run.with_suffix(".txt"), number, seconds)
            codes[ended.code] += 1
            late = ended.code == 0  # on a quick machine it may have ended before
            fault = (
                whole.fault_of_resuming(run, unprepared)
                if late or ended.code == 128 + number
                else f"it ends with {ended.code}: {ended.said[-1000:]}"
            )
            yield fault and f"seed {seed}, {number.name} after {seconds:.2f} s: {fault}"

    return tally(trials(), codes=codes)


def _heed_interrupts() -> None:
    """What is started in the background of a shell script ignores SIGINT, and so would its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _started(words: list[str], output: Path, number: int, seconds: float) -> Ended:
    """A process of its own, sent a signal after some seconds; the interpreter's own first moments are not ours."""
    with output.open("w") as file:
        words = [sys.executable, "-m", "chainkit", *words]
        process = subprocess.Popen(words, stdout=file, stderr=file, start_new_session=True, preexec_fn=_heed_interrupts)
        time.sleep(seconds)
        process.send_signal(number)
        code = process.wait(timeout=300)
    return Ended(code if code >= 0 else 128 - code, output.read_text(encoding="utf-8", errors="replace"))
