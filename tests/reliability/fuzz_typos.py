"""Every key of every table and component with one letter too many, too few, another, or two swapped."""

from __future__ import annotations

import string
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Annotated, Any

import attrs
from study import Record, tally

from chainkit.component import Part
from chainkit.errors import RecipeError
from chainkit.host import load_plugins
from chainkit.recipe.problems import problems
from chainkit.recipe.schema import ChainTable, EvaluateTable, Recipe, SampleTable, TrainTable, ValidateTable
from chainkit.recipe.structure import converter
from chainkit.registry import Registry

TABLES = (Recipe, ChainTable, TrainTable, ValidateTable, SampleTable, EvaluateTable)
LETTERS = string.ascii_lowercase + "_"
ENOUGH = 0.95
"""Share of the typos for which the right key must be suggested first."""


@attrs.frozen
class Typo:
    """A key that is wrong in one letter.

    Arguments:
        annotation: The table's class, or the annotated part.
        settings: What else stands in the table.
        key: The right key.
        written: What is written instead.
    """

    annotation: Any
    settings: dict[str, Any]
    key: str
    written: str


def misspelt(key: str) -> set[str]:
    """All that one slip makes of a key."""
    cuts = [(key[:i], key[i:]) for i in range(len(key) + 1)]
    more = {left + letter + right for left, right in cuts for letter in LETTERS}
    other = {left + letter + right[1:] for left, right in cuts if right for letter in LETTERS}
    fewer = {left + right[1:] for left, right in cuts if right}
    swapped = {left + right[1] + right[0] + right[2:] for left, right in cuts if len(right) > 1}
    return (more | other | fewer | swapped) - {key, ""}


def every(registry: Registry) -> Iterator[Typo]:
    """Every typo of every key, those aside that are another key."""
    tables: list[tuple[Any, type, dict[str, Any]]] = [(config, config, {}) for config in TABLES]
    for entry in registry.entries():
        settings = {"type": entry.qualified}
        tables.append((Annotated[Part, entry.kind], entry.component.config, settings))
    for annotation, config, settings in tables:
        keys = [field.name for field in attrs.fields(config) if field.init]
        for key in keys:
            yield from (Typo(annotation, settings, key, written) for written in sorted(misspelt(key) - {*keys, "type"}))


def typos(count: int, seed: int, folder: Path, method: str) -> Record:
    """``count`` of the typos, drawn at random (all, if there are no more): each refused as an unknown key.

    The right key is suggested first for at least :data:`ENOUGH` of them.
    """
    registry = load_plugins(strict=False).registry
    found, made, suggested = list(every(registry)), converter(registry), 0
    Random(seed).shuffle(found)

    def trials() -> Iterator[str]:
        nonlocal suggested
        for typo in found[:count]:
            said = _said(made, typo)
            suggested += f"{typo.written}: is an unknown key; did you mean '{typo.key}'" in said
            yield "" if f"{typo.written}: is an unknown key" in said else f"{typo}: {said}"

    record = tally(trials())
    record = attrs.evolve(record, details={"the right key is suggested first": suggested})
    if suggested < ENOUGH * record.tried and record.held:
        return attrs.evolve(record, held=suggested, failure=f"the right key is suggested first for {suggested} of {record.tried}")
    return record


def _said(made: Any, typo: Typo) -> str:
    try:
        made.structure({**typo.settings, typo.written: 1}, typo.annotation)
    except RecipeError as error:
        return str(error)
    except Exception as error:  # what the reader turns into problems
        return "\n".join(problems(error))
    return "it is accepted"
