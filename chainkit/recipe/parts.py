"""Walking over the parts of a recipe: every component that it chose, however deeply nested."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import attrs

from chainkit.component import Part
from chainkit.recipe.problems import join

if TYPE_CHECKING:
    from chainkit.recipe.schema import Recipe


def located(value: Any, path: str = "") -> Any:
    """The same with the dotted key of every part filled in.

    Arguments:
        value: A recipe, or anything in one.
        path: Its own dotted key.
    """
    if isinstance(value, Part):
        return attrs.evolve(value, config=located(value.config, path), path=path)
    if isinstance(value, (list, tuple)):
        return type(value)(located(item, join(path, str(index))) for index, item in enumerate(value))
    if isinstance(value, dict):
        return type(value)((key, located(item, join(path, key))) for key, item in value.items())
    if not attrs.has(type(value)):
        return value
    fields = {field.alias: (getattr(value, field.name), field.name) for field in attrs.fields(type(value)) if field.init}
    inner = {alias: located(item, join(path, name)) for alias, (item, name) in fields.items()}
    changes = {alias: item for alias, item in inner.items() if item is not fields[alias][0]}
    return attrs.evolve(value, **changes) if changes else value


def parts(value: Any) -> Iterator[Part]:
    """Every part in a recipe, or in anything in one, outer ones first."""
    if isinstance(value, Part):
        yield value
        yield from parts(value.config)
    elif isinstance(value, dict):
        for item in value.values():
            yield from parts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from parts(item)
    elif attrs.has(type(value)):
        for field in attrs.fields(type(value)):
            yield from parts(getattr(value, field.name))


def model_parts(recipe: Recipe) -> list[Part]:
    """The parts of a recipe's model: of the chain, the process and the objective, inner ones too."""
    return list(parts((recipe.chain, recipe.process, recipe.objective)))
