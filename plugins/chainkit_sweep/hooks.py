"""What this plugin registers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import chainkit
from chainkit.cli.group import LazyCommand

if TYPE_CHECKING:
    import click

chainkit_api = (1, 1)


@chainkit.hookimpl
def chainkit_commands(group: click.Group) -> None:
    """``chainkit sweep``."""
    group.add_command(LazyCommand("sweep", "chainkit_sweep.command:sweep", "Run a recipe at every point of a grid of settings."))
