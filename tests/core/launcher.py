"""Starts processes as torchrun does, by forks of one that has imported everything: a launch costs no second import.

Reads commands as JSON lines and answers each with one: ``start`` gives the pids, ``wait`` the exit codes.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from typing import Any

from chainkit import session
from chainkit.cli import main, work
from chainkit.host import load_plugins


def start(arguments: list[str], size: int, log: str, log_every: int = 1) -> list[int]:
    """Forks as many processes, each with a rank, that run a command line; their words go to a file."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return [
        _fork(arguments, {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_PORT": port}, log, log_every)
        for rank in range(size)
    ]


def _fork(arguments: list[str], environment: dict[str, int], log: str, log_every: int) -> int:
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
        session.LOG_EVERY = log_every
        code = main(arguments)
        sys.stdout.flush()
    finally:
        os._exit(code)


def wait(pids: list[int]) -> list[int]:
    """Exit codes; minus the signal where one ended a process."""
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]


def serve() -> None:
    """Answers commands until there are no more."""
    load_plugins()
    assert work is not None
    commands: dict[str, Any] = {"start": start, "wait": wait}
    for line in sys.stdin:
        name, given = json.loads(line)
        print(json.dumps(commands[name](**given)), flush=True)


if __name__ == "__main__":
    serve()
