"""``chainkit recipes``."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from chainkit.cli import complete
from chainkit.cli.output import as_json, emit, say, table
from chainkit.errors import RecipeError
from chainkit.host import Host
from chainkit.recipe import find_recipe, shipped_recipes
from chainkit.recipe.toml import read_file


@click.group("recipes")
def recipes() -> None:
    """The recipes that can be run by name."""


@recipes.command("ls")
@as_json
@click.pass_obj
def ls(host: Host, as_json: bool) -> None:
    """List them."""
    found = shipped_recipes(host)
    if as_json:
        emit([{"name": recipe.name, "title": recipe.title, "path": str(recipe.path), "provider": recipe.provider} for recipe in found])
    else:
        table([(recipe.name, recipe.title) for recipe in found])


@recipes.command("show")
@click.argument("name", shell_complete=complete.recipes)
@click.pass_obj
def show(host: Host, name: str) -> None:
    """Print the recipe NAME."""
    click.echo(read_file(find_recipe(name, host)), nl=False)


@recipes.command("cp")
@click.argument("name", shell_complete=complete.recipes)
@click.argument("to", type=click.Path(path_type=Path), default=Path("."))
@click.pass_obj
def cp(host: Host, name: str, to: Path) -> None:
    """Copy the recipe NAME, to change it: to a new file TO, or into the folder TO."""
    source = find_recipe(name, host)
    target = to / source.name if to.is_dir() else to
    if target.exists():
        raise RecipeError(f"{target}: exists")
    shutil.copyfile(source, target)
    say(f"copied to {target}")
