"""``chainkit check``."""

from __future__ import annotations

import click

from chainkit.cli.options import RECIPE, SET
from chainkit.cli.output import as_json, emit, say
from chainkit.errors import RecipeError
from chainkit.host import Host
from chainkit.recipe import Recipe, find_recipe, read_recipe, unstructure


@click.command("check")
@RECIPE
@SET
@as_json
@click.pass_obj
def check(host: Host, recipe: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Say what is wrong with RECIPE (a file, or the name of a shipped recipe), without running it.

    As JSON: whether it is in order, its problems, and the recipe with every default written out.
    """
    try:
        checked = read_recipe(find_recipe(recipe, host), host.registry, overrides)
    except RecipeError as error:
        if as_json:
            emit({"ok": False, "problems": error.problems, "recipe": None})
        raise
    if as_json:
        emit({"ok": True, "problems": [], "recipe": unstructure(checked)})
    say(f"{recipe} is in order: {_summary(checked)}")


def _summary(recipe: Recipe) -> str:
    steps = f"{recipe.chain.steps} steps" if recipe.chain.steps else "as many steps as the noise level asks for"
    return f"{recipe.objective.name} on {recipe.data.name}, process {recipe.process.name}, {steps} of {recipe.chain.operator.name}"
