"""Eight processes that want one run directory at the same moment, and a lock whose holder is killed."""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from children import LIMIT, Child, start
from leavings import Whole
from resumes import ending_after
from study import Record, tally
from tiny_recipes import UPDATES

RACERS = 8
BUSY, TAKEN = 6, 2


class Race:
    """Where processes wait for the start, and the winner for its release."""

    def __init__(self) -> None:
        self.start = os.pipe()
        self.release = os.pipe()

    def patch(self) -> None:
        """Makes the process that calls it wait for the start, and once more before its first update."""
        from chainkit.training import Trainer

        os.close(self.start[1])
        os.close(self.release[1])
        update = Trainer._update
        waited: list[bytes] = []

        def held(trainer: Trainer, *arguments: object) -> object:
            if not waited:
                waited.append(os.read(self.release[0], 1))
            return update(trainer, *arguments)  # type: ignore[arg-type]

        Trainer._update = held  # type: ignore[method-assign,assignment]
        os.read(self.start[0], 1)

    def begin(self) -> None:
        """Lets all go: what is read from a closed pipe returns at once."""
        os.close(self.start[1])
        os.close(self.start[0])

    def end(self) -> None:
        """Lets the winner go on."""
        os.close(self.release[1])
        os.close(self.release[0])


def races(count: int, seed: int, folder: Path, method: str) -> Record:
    """``count`` races of eight processes, in turn for a directory that is to be made and for a run to be resumed.

    One must win; the others must leave with 6, or with 2 where the directory is there already. In
    every other pair of races the winner is killed with -9, and the run is taken up at once; else it must end as
    the undisturbed run does.
    """
    whole, random, codes = Whole.of(method, folder), Random(f"{seed} {method}"), Counter[str]()
    stopped = folder / "stopped"
    start(whole.begin(stopped), folder / "stopped.txt", ending_after(random.randrange(1, UPDATES), 15)).wait()

    def trials() -> Iterator[str]:
        for number in range(count):
            run = folder / f"run-{number}"
            if number % 2:
                shutil.copytree(stopped, run)
            fault = _race(whole, run, codes, killed=number // 2 % 2 == 1)
            shutil.rmtree(run, ignore_errors=True)
            yield fault and f"seed {seed}, race {number}: {fault}"

    return tally(trials(), processes=RACERS, codes=codes)


def _race(whole: Whole, run: Path, codes: Counter[str], killed: bool) -> str:
    race, words = Race(), whole.again(run)
    racers = [start(words, run.with_name(f"{run.name}-{number}.txt"), race.patch) for number in range(RACERS)]
    race.begin()
    running = _until(racers, lambda left: len(left) <= 1)
    if len(running) != 1:
        for child in running:
            child.kill()
            child.wait()
        race.end()
        return f"{len(running)} of {RACERS} processes hold the run: {[child.said()[-200:] for child in racers]}"
    [winner] = running
    losers = [child.wait() for child in racers if child is not winner]
    codes.update(str(ended.code) for ended in losers)
    if killed:
        winner.kill()
    race.end()
    ended = winner.wait()
    if other := [ended for ended in losers if ended.code not in (BUSY, TAKEN)]:
        return f"a loser ends with {other[0].code}: {other[0].said[-500:]}"
    return whole.fault_of_resuming(run) if killed else whole.fault(run, ended)


def _until(racers: list[Child], enough: Callable[[list[Child]], bool]) -> list[Child]:
    """Those that still run once enough have ended, none of them waited for."""
    deadline, left = time.monotonic() + LIMIT, racers
    while not enough(left) and time.monotonic() < deadline:
        time.sleep(0.002)
        left = [child for child in left if os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None]
    return left
