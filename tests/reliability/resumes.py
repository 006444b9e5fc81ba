"""One run stopped and taken up five times: in the middle of epochs and where they end, by signals and by kill -9."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from children import finish
from leavings import Whole
from study import Record, tally
from tiny_recipes import UPDATES

EPOCH = UPDATES // 3
STOPS = 5


def ending_after(update: int, number: int) -> Callable[[], None]:
    """What makes a process send itself a signal once an update is done.

    Arguments:
        update: The update, 1 or more.
        number: The signal.
    """

    def patch() -> None:
        from chainkit.session import Session

        after = Session._after_update

        def ending(session: Session, loss: float) -> None:
            if session.trainer.progress.update == update:
                os.kill(os.getpid(), number)
            after(session, loss)

        Session._after_update = ending  # type: ignore[method-assign]

    return patch


def resumes(count: int, seed: int, folder: Path, method: str) -> Record:
    """``count`` runs, each stopped at five updates, the last ones of both epochs before the end among them."""
    whole, random = Whole.of(method, folder), Random(f"{seed} {method}")

    def trials() -> Iterator[str]:
        for number in range(count):
            inside = random.sample([update for update in range(1, UPDATES - 1) if update % EPOCH], STOPS - 2)
            stops = [(update, random.choice([signal.SIGINT, signal.SIGTERM])) for update in sorted([*inside, EPOCH, 2 * EPOCH])]
            # One kill -9 as well, in the last epoch: what it loses is done again, and passes no stop twice.
            stops.append((UPDATES - 1, signal.SIGKILL))
            run = folder / f"run-{number}"
            fault = _stopped_at(stops, whole, run)
            shutil.rmtree(run, ignore_errors=True)
            yield fault and f"seed {seed}, run {number}: {fault}"

    return tally(trials(), stops=f"{STOPS} signals and a kill -9 each")


def _stopped_at(stops: list[tuple[int, int]], whole: Whole, run: Path) -> str:
    for update, number in stops:
        ended = finish(whole.again(run), run.with_name(f"{run.name}.txt"), ending_after(update, number))
        if ended.code != 128 + number:
            return f"stopped after update {update}, it ends with {ended.code}: {ended.said[-500:]}"
    return whole.fault_of_resuming(run)
