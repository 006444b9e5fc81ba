"""Processes side by side, each with its share of the processor's cores."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import attrs

from chainkit.errors import Interrupted
from chainkit.interrupt import poll

PAUSE = 0.05
"""Seconds between two looks at the processes."""


@attrs.frozen(kw_only=True, eq=False)
class Job:
    """One chainkit command in a process of its own.

    Arguments:
        name: What it is called.
        words: The words of its command line after ``chainkit``.
        log: The file that what it says is added to.
    """

    name: str
    words: Sequence[str]
    log: Path


def run_jobs(jobs: Iterable[Job], at_once: int, ended: Callable[[Job, int], None]) -> None:
    """Runs jobs in their order, some of them at a time. A job that fails stops no other.

    Arguments:
        jobs: The jobs.
        at_once: How many at a time, 1 or more.
        ended: Told of every job that has ended, with its exit code, on the way.

    Raises:
        Interrupted: A signal asked to stop. It was passed on, and all processes have ended.
    """
    waiting, running = deque(jobs), dict[Job, subprocess.Popen[bytes]]()
    try:
        while waiting or running:
            poll()
            while waiting and len(running) < at_once:
                job = waiting.popleft()
                running[job] = _start(job, at_once)
            for job, process in list(running.items()):
                if (code := process.poll()) is not None:
                    del running[job]
                    ended(job, 128 - code if code < 0 else code)
            time.sleep(PAUSE)
    except BaseException as error:
        _stop(list(running.values()), error.exit_code - 128 if isinstance(error, Interrupted) else signal.SIGTERM)
        raise


def _start(job: Job, at_once: int) -> subprocess.Popen[bytes]:
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open("ab") as log:
        # In a process group of its own a run does not hear Ctrl-C twice, from the terminal and from here.
        return subprocess.Popen(
            [sys.executable, "-m", "chainkit", *job.words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={"OMP_NUM_THREADS": str(threads(at_once)), **os.environ},
            process_group=0,
        )


def threads(at_once: int) -> int:
    """Threads of each of some processes, so that together they have one for every core.

    Arguments:
        at_once: How many processes.
    """
    return max(1, (os.cpu_count() or 1) // at_once)


def _stop(processes: Sequence[subprocess.Popen[bytes]], number: int) -> None:
    """Asks processes to stop and waits for them; a second signal ends them at once, which a run survives too."""
    try:
        for process in processes:
            process.send_signal(number)
        for process in processes:
            process.wait()
    except KeyboardInterrupt:
        for process in processes:
            process.kill()
            process.wait()
