"""Stopping between steps: signal handlers set a flag, and every long loop polls it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from chainkit.errors import Interrupted

_received: list[int] = []


def poll() -> None:
    """Called by every long loop where it can stop.

    Raises:
        Interrupted: A signal asked to stop.
    """
    if _received:
        raise Interrupted(_received[0], f"stopped by {signal.Signals(_received[0]).name}")


def _note(number: int, frame: FrameType | None) -> None:
    if _received:
        raise KeyboardInterrupt
    _received.append(number)


@contextmanager
def handling_signals() -> Iterator[None]:
    """While inside, SIGINT and SIGTERM ask loops to stop; a second one stops at once."""
    previous = {number: signal.signal(number, _note) for number in (signal.SIGINT, signal.SIGTERM)}
    _received.clear()
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        _received.clear()
