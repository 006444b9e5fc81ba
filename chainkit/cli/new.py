"""``chainkit new``."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

import click

from chainkit import API_VERSION
from chainkit.cli.output import say
from chainkit.component import HOOKS
from chainkit.host import Host
from chainkit.scaffold import Names, check_free, write_package

KIND = click.Choice([*HOOKS, "all"])


@click.group("new")
def new() -> None:
    """Write the beginning of something new."""


@new.command("plugin")
@click.argument("name")
@click.option("--kind", "kinds", multiple=True, type=KIND, default=["operator"], show_default=True, help="What it adds; repeatable.")
@click.option("--into", type=click.Path(exists=True, file_okay=False, path_type=Path), default=Path("."), help="Where its folder is made.")
@click.pass_obj
def plugin(host: Host, name: str, kinds: tuple[str, ...], into: Path) -> None:
    """Write a plugin package that works at once, with a component of each KIND, a recipe and tests.

    NAME is the plugin's; the folder and the distribution are chainkit-NAME. The commands that come
    next are printed.
    """
    names = Names.of(name)
    check_free(names, host)
    asked = [kind for kind in HOOKS if kind in kinds or "all" in kinds]
    folder = write_package(names, asked, into)
    say(f"{folder} holds a plugin for API {API_VERSION} with {', '.join(asked)} and a recipe. Next:")
    for command in _next(names, folder):
        click.echo(command)


def _next(names: Names, folder: Path) -> list[str]:
    """How the package is installed, tested, checked and run, with the Python that runs now."""
    python, chainkit = _programs()
    return [
        f"{python} -m pip install -e {shlex.quote(f'{folder}[dev]')}",
        f"{python} -m pytest {shlex.quote(str(folder))}",
        f"{chainkit} check {names.recipe}",
        f"{chainkit} run {names.recipe}",
    ]


def _programs() -> tuple[str, str]:
    """``python`` and ``chainkit`` where a shell finds those of this environment by these names, else how to start them."""
    here = Path(sys.executable).parent
    if all((found := shutil.which(name)) and Path(found).parent == here for name in ("python", "chainkit")):
        return "python", "chainkit"
    python = shlex.quote(sys.executable)
    return python, f"{python} -m chainkit"
