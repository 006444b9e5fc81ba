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
    """``chainkit report`` and ``chainkit compare``."""
    group.add_command(LazyCommand("report", "chainkit_report.commands:report", "Write a page about a run."))
    group.add_command(LazyCommand("compare", "chainkit_report.commands:compare_runs", "Put runs beside each other."))
