"""Messages between the processes of a run; whoever waits for one can still be stopped by a signal."""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import Any

import torch.distributed as dist

from chainkit.errors import ProcessLostError
from chainkit.interrupt import asked

LONGEST_PAUSE = 0.02
"""Seconds between two looks for a message that has been waited for a while."""

PATIENCE = 10.0
"""Seconds without a beat of another after which one that was asked to stop gives it up; a launcher asks all where one was lost."""

BEAT = 1.0
"""Seconds between two beats, by which a process tells the others that it is there, whatever it does meanwhile."""


class Board:
    """Messages between processes, in a store of the launcher or the first of them.

    Arguments:
        store: The store.
    """

    def __init__(self, store: dist.Store) -> None:
        self.store = store
        self._exchanges = 0

    @contextmanager
    def beating(self, rank: int) -> Iterator[None]:
        """While inside, a thread tells the other processes that this one is there.

        Arguments:
            rank: Which it is.
        """
        ended = Event()
        thread = Thread(target=self._beat, args=(rank, ended), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _beat(self, rank: int, ended: Event) -> None:
        with suppress(RuntimeError):  # the store has gone; whoever needs it says so
            while not ended.wait(BEAT):
                self.store.add(f"beat/{rank}", 1)

    def exchange(self, own: Any, rank: int, size: int) -> list[Any]:
        """What all processes have to say, by rank.

        Arguments:
            own: What this one has.
            rank: Which it is.
            size: How many they are.

        Raises:
            ProcessLostError: Another process has ended; one that beats is waited for, however long it takes.
        """
        self._exchanges += 1
        keys = [f"{self._exchanges}/{other}" for other in range(size)]
        with connected():
            self.store.set(keys[rank], pickle.dumps(own))  # type: ignore[arg-type]
            self._wait(keys)
            found = [pickle.loads(self.store.get(key)) for key in keys]
            # Whoever has left a message has read all those before.
            self.store.delete_key(f"{self._exchanges - 1}/{rank}")
        return found

    def _wait(self, keys: list[str]) -> None:
        heard: dict[int, tuple[int, float]] = {}
        pause = 0.0005
        while not self.store.check(keys):  # its own wait is deaf to signals, and each end of it a warning of torch
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            if asked():
                self._require_beats([rank for rank, key in enumerate(keys) if not self.store.check([key])], heard)

    def _require_beats(self, ranks: list[int], heard: dict[int, tuple[int, float]]) -> None:
        """Makes sure that processes still beat; ``heard`` keeps how often each did, and when that was first seen."""
        now = time.monotonic()
        for rank in ranks:
            beats = self.store.add(f"beat/{rank}", 0)
            if rank not in heard or heard[rank][0] != beats:
                heard[rank] = (beats, now)
            if now - heard[rank][1] > PATIENCE:
                raise ProcessLostError("another process of this run does not answer any more")


@contextmanager
def connected() -> Iterator[None]:
    """Turns what torch raises where another process is gone into an error that says so.

    Raises:
        ProcessLostError: Another process has ended or cannot be reached.
    """
    try:
        yield
    except RuntimeError as error:
        reason = str(error).partition(". ")[0]
        raise ProcessLostError(f"another process of this run has ended or cannot be reached ({reason})") from error
