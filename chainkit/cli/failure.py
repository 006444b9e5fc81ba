"""What the command line says when something goes wrong, and the exit code that it leaves with."""

from __future__ import annotations

import errno
import io
import os
import re
import signal
import sys
import traceback
from types import FrameType

import click

from chainkit.cli.group import CommandLine, CutOff
from chainkit.errors import ChainkitError, lacks_memory
from chainkit.interrupt import Signalled
from chainkit.plugin import Plugin
from chainkit.reporting import visible

FILE_ERROR = 4
BROKEN_PIPE = 141
OUT_OF_MEMORY = 2
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EIO)


def report(error: BaseException, group: CommandLine) -> int:
    """Says on standard error what went wrong.

    Arguments:
        error: What was raised.
        group: The command line.

    Returns:
        The exit code.
    """
    if isinstance(error, SystemExit):
        return _exit_code(error)
    if isinstance(error, (BrokenPipeError, CutOff)):  # nothing is said, as other programs do
        _abandon_output()
        return BROKEN_PIPE
    if group.traceback:
        traceback.print_exception(error)
    match error:
        case click.Abort() | KeyboardInterrupt():
            _say("interrupted")
            return 128 + _signal(error)
        case ChainkitError():
            for line in str(error).splitlines():
                _say(f"error: {line}")
            return error.exit_code
        case click.FileError():
            _say(f"error: {error.format_message()}")
            return FILE_ERROR
        case click.ClickException():
            _show(error)
            return 2
        case OSError() if error.filename is not None or error.errno in _NO_ROOM:
            return _file_error(error)
        case _ if lacks_memory(error):
            return _memory_error(error)
        case _:
            return _bug(error, group)


def _signal(error: BaseException) -> int:
    """The signal that came, of which click makes an Abort; SIGINT unless it is said."""
    cause = error.__cause__ if isinstance(error, click.Abort) else error
    return cause.number if isinstance(cause, Signalled) else signal.SIGINT


def _exit_code(error: SystemExit) -> int:
    """What the interpreter would leave with, after it has printed what is no number."""
    if isinstance(error.code, str):
        _say(f"error: {error.code}")
    return error.code if isinstance(error.code, int) else int(error.code is not None)


def _say(line: str) -> None:
    print(f"chainkit: {visible(line)}", file=sys.stderr)


def _show(error: click.ClickException) -> None:
    words = io.StringIO()
    error.show(file=words)
    print(visible(words.getvalue()), end="", file=sys.stderr)


def _abandon_output() -> None:
    """Keeps the interpreter from failing once more on what is left to be written when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _file_error(error: OSError) -> int:
    if error.filename is None:
        _abandon_output()
    name = "standard output" if error.filename is None else error.filename
    _say(f"error: {name}: {error.strerror}")
    return FILE_ERROR


def _memory_error(error: BaseException) -> int:
    wanted = re.search(r"allocate ([\d.]+ \w+)", str(error))
    more = f" ({wanted[1]} more were asked for)" if wanted else ""
    _say(f"error: out of memory{more}; take a smaller train.batch_size or sample.n, a smaller max_rows of an estimator, or a larger device")
    return OUT_OF_MEMORY


def _bug(error: BaseException, group: CommandLine) -> int:
    if not group.traceback:
        traceback.print_exception(error)
    plugin = _culprit(error, group)
    if plugin is None:
        _say("this is a bug of chainkit; please report it with the lines above")
        return 1
    _say(f"this is a bug of {plugin}; please report it to its authors with the lines above")
    return 1 if plugin.distribution == "chainkit" else 3


def _culprit(error: BaseException, group: CommandLine) -> Plugin | None:
    """The plugin whose code was running when the error arose, called libraries aside; None if it was our own."""
    packages = {plugin.module.partition(".")[0]: plugin for plugin in (group.host.plugins if group.host else [])}
    for frame in reversed([frame for frame, _ in traceback.walk_tb(error.__traceback__)]):
        package = _package(frame)
        if package in packages:
            return packages[package]
        if package == "chainkit":
            return None
    return None


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]
