"""Runs commands of chainkit in this process and notes what they do beside what they were asked for.

An audit hook, which cannot be taken off again, sees every file that Python opens, every process and every
connection. Files that native code writes are seen by what the folder holds afterwards.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import platform
import signal
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import attrs

FORBIDDEN = (
    "pickle.find_class",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "socket.",
    "ctypes.dlopen",
    "webbrowser.",
    "urllib.",
)
CHANGING = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown", "shutil.")
SECONDS = 60
"""A command that takes longer is taken for one that never ends; the process is then ended with it."""
SECRET = "canary"
"""What stands in every file that is nobody's business, and in every text that must not be compiled."""


@attrs.frozen(kw_only=True)
class Case:
    """Commands to run one after the other.

    Arguments:
        name: What is hostile about it.
        commands: The words of each.
        folder: Where they are run; the run directory is ``run`` in it.
        writable: Folders where files may be written.
    """

    name: str
    commands: Sequence[Sequence[str]]
    folder: str
    writable: Sequence[str]


@attrs.frozen(kw_only=True)
class Result:
    """What became of a case.

    Arguments:
        name: As the case has it.
        codes: Exit codes of its commands.
        said: What they printed.
        events: What they must not have done.
    """

    name: str
    codes: list[int]
    said: str
    events: list[str]


class Watch:
    """The audit hook: notes what must not happen while a case is set.

    Attributes:
        case: The present case; None notes nothing.
        events: What happened.
    """

    def __init__(self) -> None:
        self.case: Case | None = None
        self.events: list[str] = []
        sys.addaudithook(self)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.case is None:
            return
        if event.startswith(FORBIDDEN) or (event == "subprocess.Popen" and not _is_git(arguments)):
            self.events.append(f"{event} {arguments[:2]!r}"[:200])
        elif event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)):
            self._opened(os.path.realpath(os.fsdecode(arguments[0])), arguments[2])
        elif event.startswith(CHANGING):
            for path in (argument for argument in arguments if isinstance(argument, (str, bytes, os.PathLike))):
                self._changed(event, _whole(os.fsdecode(path), arguments))
        elif event == "compile" and SECRET in str(arguments[0]):
            self.events.append(f"compile {str(arguments[0])[:100]!r}")

    def _opened(self, path: str, flags: int) -> None:
        assert self.case is not None
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND):
            self._changed("open", path)
        elif SECRET in path:
            self.events.append(f"read {path}")

    def _changed(self, event: str, path: str) -> None:
        assert self.case is not None
        if path != os.devnull and not any(path == folder or path.startswith(f"{folder}/") for folder in self.case.writable):
            self.events.append(f"{event} changes {path}")


def _whole(path: str, arguments: tuple[Any, ...]) -> str:
    """A path without links in its folder; one that is seen from an open folder begins there."""
    opened = arguments[1] if len(arguments) == 2 and isinstance(arguments[1], int) and arguments[1] >= 0 else None
    folder = os.path.join("" if opened is None else os.readlink(f"/proc/self/fd/{opened}"), os.path.dirname(path))
    return os.path.join(os.path.realpath(folder), os.path.basename(path))


def _is_git(arguments: tuple[Any, ...]) -> bool:
    """Whether it is the question for the commit and the state of the working copy that every run asks."""
    words = list(arguments[1])
    return words[0] == "git" and words[-2:] in (["rev-parse", "HEAD"], ["status", "--porcelain"])


def run(case: Case, watch: Watch) -> Result:
    """Runs the commands of a case, watched."""
    from chainkit.cli import main

    os.chdir(case.folder)
    said = io.StringIO()
    watch.events, codes = [], []
    for words in case.commands:
        watch.case = case
        signal.alarm(SECONDS)
        try:
            with redirect_stdout(said), redirect_stderr(said):
                codes.append(main(list(words)))
        finally:
            signal.alarm(0)
            watch.case = None
    return Result(name=case.name, codes=codes, said=said.getvalue(), events=watch.events)


def serve(cases: Sequence[Case], results: Path) -> None:
    """Runs cases, and writes one result per line; what plugins import is imported before anything is watched.

    Arguments:
        cases: They are run one after the other.
        results: The file.
    """
    os.environ["CHAINKIT_DISABLE_PLUGINS"] = ""
    os.environ["MPLCONFIGDIR"] = str(results.parent / "matplotlib")
    for name in ("matplotlib.figure", "torchvision.datasets"):
        importlib.import_module(name)
    platform.platform()  # asks uname, once
    sys.dont_write_bytecode = True
    watch = Watch()
    for case in cases:
        result = json.dumps(attrs.asdict(run(case, watch)))
        with results.open("a", encoding="utf-8") as file:
            file.write(result + "\n")
