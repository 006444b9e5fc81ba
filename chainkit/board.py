"""Messages between the processes of a run; whoever waits for one can still be stopped by a signal."""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch.distributed as dist

from chainkit.errors import ProcessLostError
from chainkit.interrupt import asked

LONGEST_PAUSE = 0.02
"""Seconds between two looks for a message that has been waited for a while."""

PATIENCE = 10.0
"""Seconds that a process which was asked to stop waits for the others; a launcher asks all where one was lost."""


class Board:
    """Messages between processes, in a store of the launcher or the first of them.

    Arguments:
        store: The store.
    """

    def __init__(self, store: dist.Store) -> None:
        self.store = store
        self._exchanges = 0

    def exchange(self, own: Any, rank: int, size: int) -> list[Any]:
        """What all processes have to say, by rank.

        Arguments:
            own: What this one has.
            rank: Which it is.
            size: How many they are.

        Raises:
            ProcessLostError: Another process has ended.
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
        since, pause = None, 0.0005
        while not self.store.check(keys):  # its own wait is deaf to signals, and each end of it a warning of torch
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            since = since or (time.monotonic() if asked() else None)
            if since is not None and time.monotonic() - since > PATIENCE:
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
