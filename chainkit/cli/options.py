"""Arguments that several commands take."""

from __future__ import annotations

import click

from chainkit.cli import complete

RECIPE = click.argument("recipe", shell_complete=complete.recipes)
SET = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Replace a key of the recipe, e.g. chain.steps=10.",
    shell_complete=complete.keys,
)
