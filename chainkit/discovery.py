"""Which plugins are installed: the entry points of the group ``chainkit``.

Distributions are read one at a time, so that damaged metadata of one of them hides no other.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.metadata import Distribution, EntryPoint, distributions
from typing import Any

import attrs

from chainkit.errors import PluginError
from chainkit.plugin import Plugin

GROUP = "chainkit"


@attrs.define(kw_only=True)
class Found:
    """An entry point that was found.

    Arguments:
        record: The record of the plugin, not loaded yet.
        load: Imports it; raises whatever the import raises.
        note: What is odd about its installation, or None.
    """

    record: Plugin
    load: Callable[[], Any]
    note: str | None = None


def discover() -> list[Found]:
    """Every installed plugin, sorted by name and distribution, each with an id of its own."""
    found: list[Found] = []
    seen: dict[str, tuple[str, str]] = {}
    for distribution in distributions():
        if f"[{GROUP}]" not in _entry_points_text(distribution).replace(" ", ""):
            continue
        name, version = _identity(distribution)
        key, copy = _normal(name), (version, os.path.realpath(str(distribution.locate_file(""))))
        if key in seen:
            _note_copy(found, name, seen[key], copy)
        else:
            seen[key] = copy
            found += _plugins(distribution, name, version)
    found.sort(key=lambda item: (item.record.name, item.record.distribution))
    _number(found)
    return found


def _normal(name: str) -> str:
    """A distribution's name as installers compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _entry_points_text(distribution: Distribution) -> str:
    try:
        return distribution.read_text("entry_points.txt") or ""
    except (OSError, UnicodeDecodeError):
        return ""


def _identity(distribution: Distribution) -> tuple[str, str]:
    """Name and version, of which damaged metadata may lack either."""
    try:
        return distribution.metadata["Name"] or "an unnamed distribution", distribution.version or ""
    except Exception:  # every Python version has its own error here
        return "an unnamed distribution", ""


def _plugins(distribution: Distribution, name: str, version: str) -> Iterator[Found]:
    try:
        entries = [entry for entry in distribution.entry_points if entry.group == GROUP]
    except Exception as error:
        reason = f"its entry_points.txt is damaged: {type(error).__name__}: {error}"
        yield Found(record=Plugin(name=name, id=name, distribution=name, version=version), load=_failing(reason))
        return
    for entry in entries:
        record = Plugin(name=entry.name, id=entry.name, distribution=name, version=version, module=entry.value.partition(":")[0])
        yield Found(record=record, load=_loading(entry))


def _loading(entry: EntryPoint) -> Callable[[], Any]:
    return entry.load


def _failing(reason: str) -> Callable[[], Any]:
    def fail() -> Any:
        raise PluginError(reason)

    return fail


def _note_copy(found: list[Found], name: str, used: tuple[str, str], copy: tuple[str, str]) -> None:
    if used == copy:  # the same folder twice on sys.path
        return
    for item in found:
        if _normal(item.record.distribution) == _normal(name):
            item.note = f"{name} is installed twice: {used[0]} in {used[1]}, which is used, and {copy[0]} in {copy[1]}"


def _number(found: list[Found]) -> None:
    """An id for each: its name, with the distribution where two share it, and a number where one repeats it."""
    counts = Counter(item.record.name for item in found)
    taken: Counter[str] = Counter()
    for item in found:
        if counts[item.record.name] > 1:
            item.record.id = f"{item.record.name}@{item.record.distribution}"
        taken[item.record.id] += 1
        if (number := taken[item.record.id]) > 1:
            item.record.id += f"#{number}"
