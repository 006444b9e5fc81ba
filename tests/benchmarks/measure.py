"""How the benchmarks measure: contenders in turn within one run, and ratios of what they took.

A machine that others use is slower at some times than at others. Contenders are therefore timed in
turn, A B A B, and a figure is the median of the ratios within one round, not a ratio of two times
that were taken apart.
"""

from __future__ import annotations

import ctypes
import gc
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs

Work = Callable[[], object]
"""Something to be timed; what it gives is dropped."""


@attrs.frozen(kw_only=True)
class Row:
    """One figure of the table.

    Arguments:
        name: What was measured.
        measured: The figure.
        unit: ``x`` (times as fast), ``x time`` (times as long), ``ms``, ``MB``, ``%`` or ``exponent``.
        at_least: What it must reach, or None where it is only to be known.
        aim: What it should reach, or None.
        details: What it was worked out from, by name, with the unit in the name.
    """

    name: str
    measured: float
    unit: str
    at_least: float | None = None
    aim: float | None = None
    details: Mapping[str, float] = attrs.field(factory=dict)

    @property
    def smaller_is_better(self) -> bool:
        """Whether the figure is a cost."""
        return self.unit in ("x time", "ms", "MB")

    @property
    def verdict(self) -> str:
        """``aim``, ``at least`` or ``short``, whichever the figure reaches; nothing where nothing is asked."""
        sign = -1 if self.smaller_is_better else 1
        for goal, word in ((self.aim, "aim"), (self.at_least, "at least")):
            if goal is not None and sign * self.measured >= sign * goal:
                return word
        return "" if self.at_least is None else "short"


@attrs.frozen
class Times:
    """Seconds that a call of each contender took, one number for each round.

    Arguments:
        seconds: By the contender's name.
    """

    seconds: Mapping[str, list[float]]

    def median(self, name: str) -> float:
        """The median of a contender, in seconds."""
        return statistics.median(self.seconds[name])

    def ratio(self, slow: str, fast: str) -> float:
        """How many times longer ``slow`` took than ``fast``: the median over the rounds."""
        return statistics.median(one / other for one, other in zip(self.seconds[slow], self.seconds[fast], strict=True))

    def difference(self, one: str, other: str) -> float:
        """By how many seconds ``one`` took longer than ``other``: the median over the rounds."""
        return statistics.median(a - b for a, b in zip(self.seconds[one], self.seconds[other], strict=True))

    def milliseconds(self, per: float = 1.0) -> dict[str, float]:
        """The medians in milliseconds, for :attr:`Row.details`.

        Arguments:
            per: How many units of work a call does.
        """
        return {f"{name}, ms": 1e3 * self.median(name) / per for name in self.seconds}


def alternate(contenders: Mapping[str, Work], *, rounds: int, calls: int = 1, warm: int = 4) -> Times:
    """Times contenders in turn.

    Arguments:
        contenders: What to time, by name.
        rounds: How many times each has its turn, at least 1.
        calls: Calls in one turn, at least 1; more for what is short.
        warm: Calls of each before the first round, which are not timed; in the third chainkit may record its updates.
    """
    for work in contenders.values():
        for _ in range(warm):
            work()
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, work in contenders.items():
            seconds[name].append(_timed(work, calls))
    return Times(seconds)


def _timed(work: Work, calls: int) -> float:
    started = time.perf_counter()
    for _ in range(calls):
        work()
    return (time.perf_counter() - started) / calls


def machine() -> dict[str, Any]:
    """What figures depend on: processor, threads, load, versions."""
    import torch

    import chainkit

    return {
        "processor": _processor(),
        "cores": os.cpu_count() or 0,
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2),
        "chainkit": chainkit.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def forget_peak() -> None:
    """Lets the peak of resident memory begin anew from what is in use now (Linux).

    What was freed goes back to the system first: how much of it stays resident is chance, tens of MB.
    """
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory() -> float:
    """Peak of resident memory of this process in MB (10^6 bytes), since it was last forgotten (Linux)."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM:"))


def slope(places: list[float], values: list[float]) -> float:
    """The exponent p of values ~ places^p, by least squares of the logarithms; 1 is linear."""
    return statistics.linear_regression([math.log(p) for p in places], [math.log(v) for v in values]).slope
