"""Standard streams that are closed from the start, or whose terminal goes away."""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import AbstractContextManager, nullcontext, redirect_stderr
from typing import Any


def open_closed_streams() -> None:
    """Gives a process that was started without standard streams, as some schedulers do, ones that lead nowhere.

    Otherwise there is nothing to write to, and the next files that are opened take their numbers.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 (it stays open)


class _Terminal(io.FileIO):
    """A terminal that may go away; what is written to it then is dropped."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return memoryview(data).nbytes


def outliving_terminal() -> AbstractContextManager[object]:
    """While inside, words on a terminal that is gone are lost, instead of ending the run that says them before it is saved."""
    if not sys.stderr.isatty():
        return nullcontext()
    terminal = io.BufferedWriter(_Terminal(sys.stderr.fileno(), "wb", closefd=False))
    return redirect_stderr(io.TextIOWrapper(terminal, sys.stderr.encoding, "backslashreplace", line_buffering=True))
