"""``chainkit sweep``."""

from __future__ import annotations

from pathlib import Path

import click

from chainkit.cli import complete
from chainkit.cli.options import RECIPE, SET
from chainkit.cli.output import as_json
from chainkit.host import Host
from chainkit_sweep import work


@click.command("sweep")
@RECIPE
@click.option(
    "--grid",
    multiple=True,
    metavar="KEY=V1,V2,...",
    help="A key of the recipe and the values that it takes; repeatable.",
    shell_complete=complete.keys,
)
@SET
@click.option("--seeds", type=click.IntRange(min=1), default=1, show_default=True, help="Training seeds, counted from that of the recipe.")
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Runs at a time; they share the cores.")
@click.option("--out", type=click.Path(path_type=Path), help="The directory of the sweep; runs/RECIPE-sweep unless given.")
@click.option("--figure", help="What is printed and drawn, such as 'lower bound'; the first figure of the recipe unless given.")
@click.option("--plan", is_flag=True, help="Run nothing: print the commands of all that is not finished, one a line.")
@as_json
@click.pass_obj
def sweep(
    host: Host,
    recipe: str,
    grid: tuple[str, ...],
    overrides: tuple[str, ...],
    seeds: int,
    jobs: int,
    out: Path | None,
    figure: str | None,
    plan: bool,
    as_json: bool,
) -> None:
    """Run RECIPE at every point of a grid of settings, each with every training seed.

    Every point is an ordinary run, made by `chainkit run`, in a directory of its own. All are checked
    before any starts; one that fails stops no other. The same command again finishes what was
    stopped, and a table and a picture of the figures are written whenever it ends.

    Values are parted by commas outside of quotes, brackets and braces, and read as those of --set:
    --grid 'chain.operator.network.hidden=[64],[64,64]'.
    """
    asked = work.asked(host, recipe, grid, overrides, seeds, out)
    if plan:
        work.print_plan(asked, as_json)
    else:
        work.sweep(asked, jobs, figure, as_json)
