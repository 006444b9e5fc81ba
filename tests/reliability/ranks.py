"""kill -9 of one of two processes of a run, or of both, with the environment that torch's launcher gives them."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from random import Random

import attrs
from children import LIMIT, Child, Ended, start
from kills import Slowed, slowed_run, wait_for
from leavings import Whole
from study import Record, tally

SIZE = 2
VICTIMS = {"leader": (0,), "other": (1,), "both": (0, 1)}
GRACE = 30.0
"""Seconds that torchrun gives the process that is left to stop, before it kills it."""

PATIENCE, BEAT = 0.5, 0.05
"""Seconds that it waits for a beat of the other once it is asked to stop, and between two; fewer than elsewhere, to save time."""

STOPPED = (7, 128 + signal.SIGTERM)
"""How it stops: another process is lost, or SIGTERM, which torchrun sends it."""


@attrs.frozen
class Together:
    """Processes of one run, with what torchrun keeps beside them.

    Arguments:
        store: The process that holds the store in which they find each other.
        children: They, by rank.
    """

    store: int
    children: list[Child]

    def wait(self, limit: float = LIMIT) -> list[Ended]:
        """Waits until all have ended.

        Arguments:
            limit: Seconds after which one that has not is killed.
        """
        ended = [child.wait(limit) for child in self.children]
        os.kill(self.store, signal.SIGKILL)
        os.waitpid(self.store, 0)
        return ended


def start_together(words: Sequence[str], output: Path, before: Callable[[], object] = lambda: None) -> Together:
    """Starts ``chainkit WORDS`` in :data:`SIZE` children; the arguments are those of :func:`children.start`.

    In the children, ``RANK`` is set when ``before`` is called.
    """
    store, port = _store()
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": SIZE, "LOCAL_WORLD_SIZE": SIZE}
    common["TORCHELASTIC_USE_AGENT_STORE"] = True
    places = [common | {"RANK": rank, "LOCAL_RANK": rank} for rank in range(SIZE)]
    return Together(store, [start(words, output.with_suffix(f".{place['RANK']}.txt"), partial(_placed, place, before)) for place in places])


def _store() -> tuple[int, int]:
    """A process with a store, and its port."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        from torch.distributed import TCPStore

        store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        os.write(writing, str(store.port).encode())
        signal.pause()
    os.close(writing)
    with os.fdopen(reading) as said:
        return pid, int(said.read(5))


def _placed(place: Mapping[str, object], before: Callable[[], object]) -> None:
    from chainkit import board

    board.PATIENCE, board.BEAT = PATIENCE, BEAT
    os.environ |= {name: str(value) for name, value in place.items()}
    before()


def finish_together(words: Sequence[str], output: Path, before: Callable[[], object] = lambda: None) -> Ended:
    """The same to their end: the first exit code that is not 0, and what all have said."""
    ended = start_together(words, output, before).wait()
    return Ended(code=next((one.code for one in ended if one.code), 0), said="\n".join(one.said for one in ended))


def rank_kills(count: int, seed: int, folder: Path, method: str) -> Record:
    """Kills a run of two processes ``count`` times, each time from its start: the first, the second or both.

    Every other kill waits for a random step of a save, the others for a random time. A process that is left is
    asked to stop and must do so by itself. Taken up by two processes, the run must be the one that was never killed.
    """
    whole, random = Whole.of(method, folder, launch=finish_together), Random(f"{seed} {method}")
    where, who, left = Counter[str](), Counter[str](), Counter[str]()
    seconds, steps = slowed_run(whole, folder, lambda slowed: partial(_slow_leader, slowed))

    def trials() -> Iterator[str]:
        tried = 0
        while tried < count:
            run, victims = folder / f"run-{tried}", list(VICTIMS)[tried // 2 % len(VICTIMS)]
            aim = random.randrange(1, steps + 1) if tried % 2 else None
            fault = _kill(whole, run, victims, aim, random.uniform(0, seconds), where, left)
            shutil.rmtree(run, ignore_errors=True)
            if fault is not None:
                tried += 1
                who[victims] += 1
                yield fault and f"seed {seed}, kill {tried}, {victims}, {f'step {aim} of {steps}' if aim else 'by time'}: {fault}"

    return tally(trials(), where=where, killed=who, left=left)


def _slow_leader(slowed: Slowed) -> None:
    if os.environ["RANK"] == "0":
        slowed.patch()


def _kill(
    whole: Whole,
    run: Path,
    victims: str,
    step: int | None,
    seconds: float,
    where: Counter[str],
    left: Counter[str],
) -> str | None:
    """What goes wrong when a run is killed and taken up; None if it had ended before it could be killed."""
    slowed = Slowed()
    group = start_together(whole.begin(run), run.with_name(f"{run.name}.txt"), partial(_slow_leader, slowed))
    if step is None:
        time.sleep(seconds)
    else:
        wait_for(group.children[0], slowed, step)
    for rank in VICTIMS[victims]:
        group.children[rank].kill()
    for rank in set(range(SIZE)) - set(VICTIMS[victims]):
        group.children[rank].kill(signal.SIGTERM)
    ended = group.wait(GRACE)
    if 0 in [one.code for one in ended]:
        return None
    where["inside a save" if slowed.saving else "before the first update" if not slowed.updates else "elsewhere"] += 1
    for one in (ended[rank] for rank in range(SIZE) if rank not in VICTIMS[victims]):
        left["killed by the launcher" if one.code == -1 else "stopped by itself"] += 1
        if one.code not in (*STOPPED, -1):
            return f"what is left ends with {one.code}: {one.said[-1000:]}"
    return whole.fault_of_resuming(run)
