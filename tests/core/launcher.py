"""Starts processes as torchrun does, by forks of one that has imported everything: a launch costs no second import.

Reads commands as JSON lines and answers each with one: ``start`` gives the pids, ``wait`` the exit codes.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
import traceback
from typing import Any

import sklearn.datasets
import torch
import torch._dynamo

from chainkit import journal, session, stacking
from chainkit.cli import main, work
from chainkit.host import load_plugins

CHUNK_BYTES = 2500
"""Memory of a chunk of steps: about two of a test's walk, by the rows of one of three processes."""

GRACE = 30.0
"""Seconds that torchrun gives processes to stop."""


def start(arguments: list[str], size: int, log: str) -> list[int]:
    """Forks as many processes, each with a rank, that run a command line, or a program after ``-c``; their words go to a file.

    They log every update, keep every piece of an estimate at once, and take few steps together.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return [_fork(arguments, {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_PORT": port}, log) for rank in range(size)]


def _fork(arguments: list[str], environment: dict[str, int], log: str) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.environ |= {"MASTER_ADDR": "127.0.0.1", **{name: str(value) for name, value in environment.items()}}
        words = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(words, 1)
        os.dup2(words, 2)
        session.LOG_EVERY, journal.SECONDS, stacking.CHUNK_BYTES = 1, 0.0, CHUNK_BYTES
        code = _program(arguments) if arguments[0] == "-c" else main(arguments)
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _program(arguments: list[str]) -> int:
    """Runs a program as ``python -c`` does."""
    sys.argv = [arguments[0], *arguments[2:]]
    exec(arguments[1], {})
    return 0


def wait(pids: list[int]) -> list[int]:
    """Exit codes; minus the signal where one ended a process. Where one is killed, the others are stopped, as torchrun does."""
    codes: dict[int, int] = {}
    deadline = float("inf")
    while len(codes) < len(pids):
        for pid in set(pids) - set(codes):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                codes[pid] = os.waitstatus_to_exitcode(status)
        left = set(pids) - set(codes)
        if any(code < 0 for code in codes.values()) and deadline == float("inf"):
            deadline = time.monotonic() + GRACE
            _signal(left, signal.SIGTERM)
        if time.monotonic() > deadline:
            _signal(left, signal.SIGKILL)
        time.sleep(0.01)
    return [codes[pid] for pid in pids]


def _signal(pids: set[int], number: int) -> None:
    for pid in pids:
        os.kill(pid, number)


def serve() -> None:
    """Answers commands until there are no more."""
    assert work is not None
    assert sklearn.datasets is not None
    assert torch._dynamo is not None
    for entry in load_plugins().registry.entries("objective"):
        entry.component.builder()
    torch.batch_norm(torch.ones(2, 1), None, None, None, None, True, 0.1, 1e-5, False)
    commands: dict[str, Any] = {"start": start, "wait": wait}
    for line in sys.stdin:
        name, given = json.loads(line)
        print(json.dumps(commands[name](**given)), flush=True)


if __name__ == "__main__":
    serve()
