"""Stopping between steps: signal handlers set a flag, and every long loop polls it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from chainkit.errors import Interrupted

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals that ask to stop. SIGHUP tells that a session is lost, often more than once: it never insists."""

_received: list[int] = []
_deferred = False


class Signalled(KeyboardInterrupt):
    """A signal came where no loop polls.

    It is not KeyboardInterrupt itself, since CPython remembers when that has left code run by ``exec``, as
    dataclasses and attrs do while modules are imported, and at last ends the process by SIGINT, whichever
    signal came and whatever was to be its exit code.

    Arguments:
        number: The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def poll() -> None:
    """Called by every long loop where it can stop.

    Raises:
        Interrupted: A signal asked to stop, and it is not put off.
    """
    if _received and not _deferred:
        raise interruption(_received[0])


def asked() -> int | None:
    """The signal that asked to stop, if one did, put off or not."""
    return _received[0] if _received else None


def interruption(number: int) -> Interrupted:
    """What is raised where a signal asks to stop.

    Arguments:
        number: The signal.
    """
    return Interrupted(number, f"stopped by {signal.Signals(number).name}")


@contextmanager
def deferring(put_off: bool) -> Iterator[None]:
    """Whether, within it, no loop stops by itself, since several processes must stop at the same place.

    Arguments:
        put_off: Whether that is so; what was said outside does not count within.
    """
    global _deferred
    before, _deferred = _deferred, put_off
    try:
        yield
    finally:
        _deferred = before


@contextmanager
def holding_signals() -> Iterator[None]:
    """While inside, :data:`STOPPING` raise nothing by themselves; the first loop that polls stops.

    This is for what must not be cut off: from the moment when a command has come to its end, whatever it
    is, until its exit code is known. A thread other than the main one cannot handle signals, here and
    below, and leaves things as they are.
    """
    with _reacting(_hold):
        yield


@contextmanager
def handling_signals(*, insisting: bool = True) -> Iterator[None]:
    """While inside, :data:`STOPPING` ask loops to stop; one that came while :func:`ending_on_signals` did, does so too.

    Arguments:
        insisting: Whether a second one stops at once, if it is not SIGHUP; a launcher that passes signals on may repeat them.
    """
    with _reacting(_note if insisting else _hold):
        yield


@contextmanager
def ending_on_signals() -> Iterator[None]:
    """While inside, :data:`STOPPING` end what is done by raising :class:`Signalled`.

    This is for what comes before and after the loops that can stop: imports, above all. Where the
    exception is lost, as in a destructor, the first loop that polls stops.
    """
    with _reacting(_end):
        yield


def _hold(number: int) -> None:
    if not _received:
        _received.append(number)


def _note(number: int) -> None:
    if not _received:
        _received.append(number)
    elif number != signal.SIGHUP:
        raise Signalled(number)


def _end(number: int) -> None:
    if _received and number == signal.SIGHUP:
        return
    _received.append(number)
    raise Signalled(number)


_reaction: Callable[[int], None] = _hold


@contextmanager
def _reacting(reaction: Callable[[int], None]) -> Iterator[None]:
    """While inside, signals are answered by ``reaction``; what held before holds again at one blow, wherever a signal comes."""
    global _reaction
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = _reaction
    try:
        with _handled():
            _reaction = reaction
            try:
                yield
            finally:
                _reaction = before
    finally:
        _received.clear()


@contextmanager
def _handled() -> Iterator[None]:
    previous = {number: signal.signal(number, _react) for number in STOPPING if not _by_nohup(number)}
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)


def _react(number: int, frame: FrameType | None) -> None:
    _reaction(number)


def _by_nohup(number: int) -> bool:
    """Whether whoever started the process wants it to outlive the session."""
    return number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN
