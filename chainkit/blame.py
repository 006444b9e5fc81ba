"""What an error that a plugin raised says, in one line."""

from __future__ import annotations

import traceback
from pathlib import Path

from chainkit.errors import PluginError


def explain(error: BaseException, module: str = "") -> str:
    """What happened, and where in the plugin, if it was not a check of the core that found it.

    Arguments:
        error: What was raised.
        module: A module of the plugin; without one, or where none of its frames was running, the place is the
            innermost one outside of the core.
    """
    if isinstance(error, PluginError):
        return str(error)
    words, where = _words(error), place(error, module)
    return f"{type(error).__name__}{': ' if words else ''}{words}{f' ({where})' if where else ''}"


def place(error: BaseException, module: str = "") -> str:
    """The file and line of the innermost frame in a plugin; empty where there is none. The arguments are those of :func:`explain`."""
    running = [(_package(str(frame.f_globals.get("__name__", ""))), frame, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    outside = [found for found in running if found[0] not in ("chainkit", "importlib")]
    inside = [found for found in outside if found[0] == _package(module)] or outside
    if not inside:
        return ""
    _, frame, line = inside[-1]
    return f"{Path(frame.f_code.co_filename).name}, line {line}"


def _package(module: str) -> str:
    return module.partition(".")[0]


def _words(error: BaseException) -> str:
    try:
        return " ".join(str(error).split())[:300]
    except Exception as second:
        return f"its message cannot be read, {type(second).__name__}"
