"""Overrides: ``chain.steps=15`` on the command line replaces, or adds, one key of a recipe."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from typing import Any

from chainkit.errors import RecipeError

_BARE = re.compile(r"[A-Za-z_/.~][^\n\"'\[\]{}]*")


def apply_overrides(tables: dict[str, Any], overrides: Sequence[str]) -> None:
    """Applies overrides in order, in place.

    A key is dotted, with numbers for the items of a list: ``evaluate.estimators.0.walks=5``. A
    value is read as TOML; what is not TOML and looks like a word or a path is a string.

    Arguments:
        tables: The tables of a recipe.
        overrides: Texts ``key=value``.

    Raises:
        RecipeError: An override cannot be read, or its key leads nowhere; all are reported.
    """
    problems = []
    for override in overrides:
        try:
            key, value = _split(override)
            _assign(tables, key.split("."), value)
        except ValueError as error:
            problems.append(f"--set {override}: {error}")
    if problems:
        raise RecipeError(*problems)


def _split(override: str) -> tuple[str, Any]:
    key, equals, text = override.partition("=")
    key = key.strip()
    if not equals or not all(key.split(".")):
        raise ValueError("is not of the form key=value, such as chain.steps=15")
    return key, read_value(text.strip())


def read_value(text: str) -> Any:
    """A value as the command line gives it: TOML, or a plain word.

    Raises:
        ValueError: It is neither.
    """
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError) as error:
        if _BARE.fullmatch(text):
            return text
        raise ValueError(f"{text!r} is neither a TOML value nor a plain word ({str(error).partition(' (at')[0]})") from None
    if list(parsed) != ["value"]:
        raise ValueError("sets more than one key")
    return parsed["value"]


def _assign(tables: dict[str, Any], keys: list[str], value: Any) -> None:
    """Follows all keys but the last, which it sets; tables that are absent are made."""
    place: Any = tables
    for depth, key in enumerate(keys[:-1]):
        where: Any = key if isinstance(place, dict) else _index(place, key)
        inner = place.get(key, {}) if isinstance(place, dict) else place[where]
        # ``temperature = "geometric"`` is short for a table.
        place[where] = {"type": inner} if isinstance(inner, str) else inner
        place = place[where]
        if not isinstance(place, (dict, list)):
            raise ValueError(f"{'.'.join(keys[: depth + 1])} is a value, not a table")
    if isinstance(place, dict):
        place[keys[-1]] = value
    else:
        place[_index(place, keys[-1])] = value


def _index(items: list[Any], key: str) -> int:
    if not (key.isascii() and key.isdigit() and int(key) < len(items)):
        raise ValueError(f"{key!r} is not an index of a list of {len(items)}, which count from 0")
    return int(key)
