"""Resident memory while training with a local objective: what a chain ten times as long takes beyond the shorter one.

Each length trains in a process of its own, whose peak is read, for as many steps in all: the heap of
a process goes on growing for some hundred steps before all that it frees is used again. The network has
nothing of its own for each step (batch normalisation per step has parameters that grow with K).
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import infusion
from measure import Row, forget_peak, peak_memory
from training import made, stepping

HERE = Path(__file__).parent


@attrs.frozen(kw_only=True)
class Size:
    """How large the benchmark is.

    Arguments:
        net: Size of the chain, but for its length.
        short: The shorter chain's steps.
        long: The longer chain's.
        trained: Steps of all updates made before the peak is read.
    """

    net: infusion.Size = infusion.FULL
    short: int = 15
    long: int = 150
    trained: int = 750


MAPPED = "glibc.malloc.mmap_threshold=65536"
"""Every larger block is a mapping of its own, and goes back to the system when it is freed: slow, but nothing lies between blocks."""

FULL = Size()
TINY = Size(net=infusion.TINY, short=2, long=4, trained=8)


def recipe(net: infusion.Size) -> str:
    """The recipe of the benchmark, without parameters for each step."""
    return infusion.recipe(net).replace('norm = "per-step"', 'norm = "none"')


def peak(net: infusion.Size, updates: int, tunables: str = "") -> float:
    """Peak of resident memory in MB of a process that makes some updates.

    Arguments:
        net: Size of the chain.
        updates: How many.
        tunables: Settings of the C library's allocator.
    """
    text = f"import memory; memory.train({net.batch}, {list(net.hidden)}, {net.steps}, {updates})"
    environment = os.environ | {"GLIBC_TUNABLES": tunables}
    done = subprocess.run([sys.executable, "-c", text], cwd=HERE, check=True, capture_output=True, text=True, env=environment)
    return float(done.stdout.split()[-1])


def train(batch: int, hidden: list[int], steps: int, updates: int) -> None:
    """Makes updates and prints the peak; what the other process runs. Reading the data is not part of it."""
    step = stepping(made(recipe(infusion.Size(batch=batch, hidden=hidden, steps=steps))))
    forget_peak()
    for _ in range(updates):
        step()
    print(peak_memory())


def rows(repeats: int, size: Size = FULL) -> Iterator[Row]:
    """The rows of this family.

    Arguments:
        repeats: How often each length is trained; medians are compared.
        size: How large the benchmark is.
    """
    yield _row(repeats, size, "resident memory", "", at_least=10, aim=3)
    yield _row(1, size, "memory in use, without what the heap leaves between blocks", MAPPED)


def _row(repeats: int, size: Size, words: str, tunables: str, at_least: float | None = None, aim: float | None = None) -> Row:
    peaks: dict[int, list[float]] = {size.short: [], size.long: []}
    for _ in range(repeats):
        for steps, found in peaks.items():
            found.append(peak(attrs.evolve(size.net, steps=steps), size.trained // steps, tunables))
    medians = {steps: statistics.median(found) for steps, found in peaks.items()}
    return Row(
        name=f"{words}, K from {size.short} to {size.long}, local objective",
        measured=medians[size.long] - medians[size.short],
        unit="MB",
        at_least=at_least,
        aim=aim,
        details={f"K = {steps}, MB": median for steps, median in medians.items()},
    )
