"""TOML text to tables, with errors that name the file, the line and the column."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from chainkit.errors import RecipeError

LARGEST = 256 * 1024
"""Bytes of the largest recipe that is read."""

DEEPEST = 32
"""Levels of the deepest table that is read."""

_PLACE = re.compile(r"(.*) \(at line (\d+), column (\d+)\)", re.DOTALL)


def read_file(path: Path) -> str:
    """The text of a recipe.

    Raises:
        RecipeError: It cannot be read, is larger than :data:`LARGEST` or is not UTF-8.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise RecipeError(f"{path}: is larger than {LARGEST // 1024} KiB, which no recipe is")
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: is not UTF-8 text, from byte {error.start} on") from None
    except OSError as error:
        raise RecipeError(f"{path}: {error.strerror}") from None
    except ValueError as error:  # a path with a null byte
        raise RecipeError(f"{str(path)!r}: {error}") from None


def parse(text: str, name: str) -> dict[str, Any]:
    """The tables of a recipe.

    Arguments:
        text: TOML.
        name: What it is called in messages: its file.

    Raises:
        RecipeError: It is not TOML, or nested deeper than :data:`DEEPEST`.
    """
    try:
        tables = tomllib.loads(text)
    except RecursionError:
        raise RecipeError(f"{name}: is nested deeper than {DEEPEST} levels") from None
    except ValueError as error:
        raise RecipeError(_located(str(error), name)) from None
    if _deeper_than(tables, DEEPEST):
        raise RecipeError(f"{name}: is nested deeper than {DEEPEST} levels")
    return tables


def _located(message: str, name: str) -> str:
    if place := _PLACE.fullmatch(message):
        words, line, column = place.groups()
        return f"{name}, line {line}, column {column}: {words}"
    return f"{name}: {message}"


def _deeper_than(value: Any, levels: int) -> bool:
    layer = [value]
    for _ in range(levels):
        layer = [item for table in layer for item in _items(table)]
    return bool(layer)


def _items(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
