"""What an error that a plugin raised says, in one line."""

from __future__ import annotations

import traceback
from pathlib import Path

from chainkit.errors import PluginError


def explain(error: BaseException, own: str) -> str:
    """What happened, and where if it was not a check of the caller's that found it.

    Arguments:
        error: What was raised.
        own: The caller's file.
    """
    if isinstance(error, PluginError):
        return str(error)
    words = _words(error)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames and frames[-1].filename != own else ""
    return f"{type(error).__name__}{': ' if words else ''}{words}{place}"


def _words(error: BaseException) -> str:
    try:
        return " ".join(str(error).split())[:300]
    except Exception as second:
        return f"its message cannot be read, {type(second).__name__}"
