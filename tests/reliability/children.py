"""Commands in forked children: the parent has imported torch and the plugins, so that a child begins at once.

The parent computes nothing itself, since neither a pool of threads nor autograd survives a fork.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import attrs
from tiny_recipes import LOG_EVERY, METHODS

USUAL = 50
"""Updates between lines of the metrics in a process that nobody has prepared."""

LIMIT = 300.0
"""Seconds after which a child that should have ended is given up."""

HEAVY = ("torch._dynamo", "torch.optim.swa_utils", "sklearn.datasets", "chainkit.cli.work")


def prepare() -> None:
    """Imports all that the small recipes need; what is only drawn is left out, except where a study asks for it.

    One thread, in processes of their own too: sums of floats depend on how many share them.
    """
    os.environ |= {"CHAINKIT_DISABLE_PLUGINS": "figures", "OMP_NUM_THREADS": "1"}
    for name in HEAVY:
        importlib.import_module(name)
    import torch

    from chainkit import session
    from chainkit.build import import_builders
    from chainkit.host import load_plugins
    from chainkit.recipe import read_recipe

    torch.set_num_threads(1)
    session.LOG_EVERY = LOG_EVERY
    host = load_plugins(strict=True)
    for text in METHODS.values():
        import_builders(read_recipe(text, host.registry))


def unprepared() -> None:
    """Takes back what :func:`prepare` has changed, for the sake of processes of their own; called in a child."""
    from chainkit import session

    session.LOG_EVERY = USUAL


@attrs.frozen
class Ended:
    """How a command ended.

    Arguments:
        code: The exit code that a shell shows: 128 and the signal's number where one ended it.
        said: What it wrote on standard error and standard output.
    """

    code: int
    said: str


@attrs.frozen
class Child:
    """A command that runs.

    Arguments:
        pid: Its process.
        output: The file that takes what it writes.
    """

    pid: int
    output: Path

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Sends a signal."""
        os.kill(self.pid, number)

    def wait(self, limit: float = LIMIT) -> Ended:
        """Waits for the end.

        Arguments:
            limit: Seconds after which it is killed.
        """
        deadline = time.monotonic() + limit
        while not (found := os.waitpid(self.pid, os.WNOHANG))[0]:
            if time.monotonic() > deadline:
                self.kill()
                os.waitpid(self.pid, 0)
                return Ended(code=-1, said=f"still there after {limit} s\n{self.said()}")
            time.sleep(0.001)
        code = os.waitstatus_to_exitcode(found[1])
        return Ended(code=code if code >= 0 else 128 - code, said=self.said())

    def said(self) -> str:
        """What it has written so far."""
        return self.output.read_text(encoding="utf-8", errors="replace")


def start(words: Sequence[str], output: Path, before: Callable[[], object] = lambda: None) -> Child:
    """Starts ``chainkit WORDS`` in a child.

    Arguments:
        words: The words of the command line.
        output: The file that takes what it writes.
        before: Called in the child first, to change what the study is about.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    output.write_text("")  # a child that is killed at once makes none
    pid = os.fork()
    if not pid:
        _become(words, output, before)
    return Child(pid, output)


def finish(words: Sequence[str], output: Path, before: Callable[[], object] = lambda: None) -> Ended:
    """Runs ``chainkit WORDS`` in a child to its end; the arguments are those of :func:`start`."""
    return start(words, output, before).wait()


def _become(words: Sequence[str], output: Path, before: Callable[[], object]) -> NoReturn:
    code = 70
    try:
        os.setsid()  # an interrupt from the keyboard is for the parent
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the studies themselves may run under nohup
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        target = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(target, 1)
        os.dup2(target, 2)
        from chainkit.cli import main

        before()
        code = main(words)
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)
