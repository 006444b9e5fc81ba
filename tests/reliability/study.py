"""What a study is and what it finds: so many things tried, so many that held, and the first that did not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import attrs


@attrs.frozen(kw_only=True)
class Record:
    """What a study found.

    Arguments:
        tried: How many things were tried.
        held: How many of them went as promised.
        seconds: Time on the clock.
        failure: The first that did not, in words; empty if there was none.
        skipped: Why nothing was tried; empty if something was.
        details: Counts that tell what was tried, by name.
        comparison: What became of the same things elsewhere: outcome and count, by what they were done with.
    """

    tried: int
    held: int
    seconds: float
    failure: str = ""
    skipped: str = ""
    details: Mapping[str, Any] = attrs.field(factory=dict)
    comparison: Mapping[str, Mapping[str, int]] = attrs.field(factory=dict)

    @property
    def sound(self) -> bool:
        """Whether all held, or there was a reason to try nothing."""
        return bool(self.skipped) or 0 < self.tried == self.held


Run: TypeAlias = Callable[[int, int, Path, str], Record]
"""A study itself, ``run(count, seed, folder, method)``: how much to try, a seed, an empty folder to work in, a method."""


@attrs.frozen(kw_only=True)
class Study:
    """A study and its sizes.

    Arguments:
        name: For the command line, and for the name of its record.
        title: What is tried, and what has to hold, for the table.
        run: Tries it.
        brief: How much for the tests, in seconds.
        short: How much before a change lands.
        long: How much for the record.
        methods: Names of what it is tried on, ``all`` where it concerns no method.
        unit: What is counted.
    """

    name: str
    title: str
    run: Run
    brief: int
    short: int
    long: int
    methods: tuple[str, ...] = ("all",)
    unit: str = ""


def tally(trials: Iterable[str], **details: Any) -> Record:
    """The record of trials, each of which gives what went wrong, or nothing.

    Arguments:
        trials: They are made one after the other.
        details: Counts to keep; what changes while they are made is kept as it is then.
    """
    began = time.monotonic()
    faults = list(trials)
    failure = next(filter(None, faults), "")
    seconds = round(time.monotonic() - began, 1)
    return Record(tried=len(faults), held=faults.count(""), seconds=seconds, failure=failure[:2000], details=details)
