"""Reading a recipe: TOML, overrides, structure, and whether its parts fit together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from chainkit.component import Part
from chainkit.errors import PluginError, RecipeError
from chainkit.recipe.check import check_recipe
from chainkit.recipe.find import shippers
from chainkit.recipe.override import apply_overrides
from chainkit.recipe.parts import located
from chainkit.recipe.problems import problems
from chainkit.recipe.schema import Recipe
from chainkit.recipe.structure import converter
from chainkit.recipe.toml import parse, read_file
from chainkit.registry import Registry

Structured = TypeVar("Structured")


def read_recipe(source: Path | str, registry: Registry, overrides: Sequence[str] = ()) -> Recipe:
    """Reads and checks a recipe.

    A name that several plugins gave means, in a recipe that a distribution ships, that distribution's own component.

    Arguments:
        source: A file as a ``Path``, or TOML text as a ``str``.
        registry: Where its components are looked up.
        overrides: Texts ``key=value`` (:func:`~chainkit.recipe.override.apply_overrides`).

    Returns:
        The recipe, its components chosen and their settings checked, with every default filled in.

    Raises:
        RecipeError: It cannot be used; ``problems`` lists all that is wrong.
    """
    text, name = (read_file(source), str(source)) if isinstance(source, Path) else (source, "recipe")
    tables = parse(text, name)
    apply_overrides(tables, overrides)
    if isinstance(source, Path) and (own := shippers(source, registry)):
        registry = registry.preferring(own)
    recipe = _structured(tables, Recipe, _allowed(tables, registry))
    if found := check_recipe(recipe):
        raise RecipeError(*found)
    return recipe


def read_part(kind: str, settings: Mapping[str, Any], registry: Registry, path: str = "") -> Part:
    """A component outside a recipe: chosen, set and checked.

    Arguments:
        kind: Kind of component.
        settings: The table that a recipe would hold, with ``type``.
        registry: Where it is looked up.
        path: What stands before messages; the kind unless given.

    Raises:
        RecipeError: The settings cannot be used.
    """
    return _structured(dict(settings), Annotated[Part, kind], registry, path or kind)


def _allowed(tables: Mapping[str, Any], registry: Registry) -> Registry:
    """The registry that the recipe's allow-list leaves; an ill-typed list is reported with all else."""
    match tables.get("plugins"):
        case [*names] if all(isinstance(name, str) for name in names):
            return registry.restricted(names)
        case _:
            return registry


def _structured(tables: Any, wanted: Any, registry: Registry, path: str = "") -> Any:
    try:
        return located(converter(registry).structure(tables, wanted), path)
    except RecursionError:
        raise RecipeError(f"{path or 'recipe'}: is nested too deeply") from None
    except PluginError:  # no mistake of the recipe's
        raise
    except Exception as error:
        raise RecipeError(*problems(error, path)) from error
