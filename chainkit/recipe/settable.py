"""The keys of a recipe that an override can replace."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

from chainkit.component import Part
from chainkit.recipe.problems import join
from chainkit.recipe.words import hints, spelled


def settable(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every dotted key below a recipe or a part of one, with its type in words; keys that are left out too.

    Arguments:
        value: A recipe, or anything in one.
        path: Its own dotted key.
    """
    if isinstance(value, Part):
        yield join(path, "type"), f"the name of a component of kind {value.kind}"
        yield from settable(value.config, path)
    elif attrs.has(type(value)):
        types = hints(type(value))
        for field in attrs.fields(type(value)):
            if field.init:
                key, inner = join(path, field.name), getattr(value, field.name)
                if not attrs.has(type(inner)) or isinstance(inner, Part):
                    yield key, spelled(types[field.name])
                yield from settable(inner, key)
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            yield from settable(inner, join(path, str(index)))
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from settable(inner, join(path, key))
