"""Finding recipes: a file by its path, or one that chainkit or a plugin ships by its name."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from chainkit.errors import RecipeError
from chainkit.plugin import Plugin
from chainkit.registry import Registry, suggest

if TYPE_CHECKING:
    from chainkit.host import Host


@attrs.frozen(kw_only=True)
class ShippedRecipe:
    """A recipe that can be run by name.

    Arguments:
        name: Name of its file without the suffix.
        path: Its file.
        provider: The plugin that ships it; empty for chainkit itself.
    """

    name: str
    path: Path
    provider: str = ""

    @property
    def title(self) -> str:
        """Its ``title``; empty where it has none or cannot be read."""
        try:
            title = tomllib.loads(self.path.read_text(encoding="utf-8")).get("title", "")
        except (OSError, ValueError, RecursionError):
            return ""
        return title if isinstance(title, str) else ""


def own_folder() -> Path:
    """The recipes that come with chainkit: in the package, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    checkout = package.parent
    return checkout / "recipes" if (checkout / "pyproject.toml").is_file() else package / "recipes"


def shipped_recipes(host: Host) -> list[ShippedRecipe]:
    """Every recipe that can be run by name, sorted by name.

    Arguments:
        host: The loaded plugins.
    """
    folders = [("", own_folder()), *((plugin.id, folder) for plugin, folder in host.recipes)]
    found = [ShippedRecipe(name=path.stem, path=path, provider=provider) for provider, folder in folders for path in folder.glob("*.toml")]
    return sorted(found, key=lambda recipe: (recipe.name, recipe.provider))


def find_recipe(name: str, host: Host) -> Path:
    """The file of a recipe.

    Arguments:
        name: A path; or the name of a shipped recipe, ``plugin:name`` where two have one name.
        host: The loaded plugins.

    Raises:
        RecipeError: There is none.
    """
    if Path(name).is_file():
        return Path(name)
    shipped = shipped_recipes(host)
    found = [recipe for recipe in shipped if name in (recipe.name, f"{recipe.provider}:{recipe.name}")]
    if len(found) == 1:
        return found[0].path
    if found:
        providers = " and ".join(recipe.provider or "chainkit" for recipe in found)
        raise RecipeError(f"{name}: there are recipes of this name from {providers}; write plugin:{name} or give a path")
    kind = "no such file" if name.endswith(".toml") or "/" in name else "no such file, nor a recipe of this name"
    words = f"{name}: {kind}{suggest(Path(name).stem, [recipe.name for recipe in shipped])}"
    raise RecipeError("; ".join([words, *host.registry.absences()]))


def shippers(path: Path, registry: Registry) -> list[Plugin]:
    """The plugins of the distribution that ships a recipe; none if it is a user's own.

    Arguments:
        path: The recipe's file.
        registry: The components, with the folders of recipes.
    """
    folders = [("chainkit", own_folder()), *((_origin(plugin), folder) for plugin, folder in registry.recipes)]
    origins = {origin for origin, folder in folders if folder.resolve() == path.resolve().parent}
    return [plugin for plugin in registry.plugins if _origin(plugin) in origins]


def _origin(plugin: Plugin) -> str:
    return plugin.distribution or plugin.id
