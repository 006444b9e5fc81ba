"""What plugins do, as they do it: one line on standard error for every hook that one of them answers."""

from __future__ import annotations

import reprlib
import sys
import time
from collections.abc import Callable
from typing import Any

LONGEST = 70
"""Characters of an answer that are shown."""


def trace(hook: str, plugin: str, words: str) -> None:
    """One line: the hook, the plugin, and what is to be said of them."""
    print(f"chainkit: trace: {hook:<24} {plugin:<12} {words}", file=sys.stderr, flush=True)


def traced(hook: str, plugin: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Calls a function, and says how long it took and what it answered or raised.

    Arguments:
        hook: The hook that is called.
        plugin: Id of the plugin that implements it.
        function: The implementation.
        arguments: What it is given.

    Returns:
        Its answer.
    """
    began = time.perf_counter()
    try:
        answer = function(*arguments)
    except BaseException as error:
        trace(hook, plugin, f"{_since(began)} raised {type(error).__name__}")
        raise
    trace(hook, plugin, f"{_since(began)} {brief(answer)}")
    return answer


def _since(began: float) -> str:
    return f"{time.perf_counter() - began:.4f} s"


def brief(answer: Any) -> str:
    """An answer in short: the names of components and folders, any other value cut to its beginning."""
    if answer is None:
        return "nothing"
    listed = isinstance(answer, (list, tuple)) and answer and all(isinstance(getattr(item, "name", None), str) for item in answer)
    words = ", ".join(item.name for item in answer) if listed else reprlib.repr(answer)
    return words if len(words) <= LONGEST else f"{words[: LONGEST - 3]}..."
