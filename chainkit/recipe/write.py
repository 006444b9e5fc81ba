"""Writing a recipe with every default written out, so that it reads back to an equal one."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

import cattrs
import tomli_w

from chainkit.component import Part
from chainkit.recipe.schema import Recipe


def _converter() -> cattrs.Converter:
    made = cattrs.Converter()
    made.register_unstructure_hook(PurePath, str)
    made.register_unstructure_hook(Part, lambda part: {"type": _name(part), **made.unstructure(part.config)})
    return made


def _name(part: Part) -> str:
    return f"{part.plugin}:{part.name}" if part.plugin else part.name


def _without_none(value: Any) -> Any:
    """TOML has no null: a key that is None is one that is left out."""
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, (list, tuple)):
        return [_without_none(item) for item in value]
    return value


def unstructure(value: Recipe | Part) -> dict[str, Any]:
    """A recipe, or a part of one, as plain tables with every default written out.

    Arguments:
        value: The recipe or part.
    """
    return _without_none(_converter().unstructure(value))


def resolved_text(recipe: Recipe) -> str:
    """A recipe as TOML with every default written out."""
    return tomli_w.dumps(unstructure(recipe))
