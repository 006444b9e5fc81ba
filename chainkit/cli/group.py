"""The command group: chainkit's own commands are imported when they are used, others come from plugins."""

from __future__ import annotations

import importlib
from contextlib import nullcontext, redirect_stderr
from io import StringIO
from typing import Any

import click

from chainkit import __version__
from chainkit.host import Host, load_plugins


class CutOff(Exception):
    """Whoever read our output has stopped; click itself would leave with 1, which stands for a bug."""


class LazyCommand(click.Command):
    """Stands for a command that is imported when it is used.

    Arguments:
        name: Its name.
        target: Where it is, ``package.module:attribute``.
        help: One line for the list of commands.
    """

    def __init__(self, name: str, target: str, help: str) -> None:
        super().__init__(name, help=help)
        self.target = target

    def make_context(self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any) -> click.Context:
        module, _, attribute = self.target.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command.make_context(info_name, args, parent, **extra)


COMMANDS = [
    LazyCommand("run", "chainkit.cli.run:run", "Train a recipe, then sample and evaluate."),
    LazyCommand("resume", "chainkit.cli.run:resume", "Continue a run from its newest sound checkpoint."),
    LazyCommand("sample", "chainkit.cli.run:sample", "Draw samples from a run."),
    LazyCommand("evaluate", "chainkit.cli.run:evaluate", "Estimate figures of a run."),
    LazyCommand("check", "chainkit.cli.check:check", "Say what is wrong with a recipe, without running it."),
    LazyCommand("recipes", "chainkit.cli.recipes:recipes", "List, show and copy the recipes that can be run by name."),
    LazyCommand("components", "chainkit.cli.components:components", "List what recipes are made of, or show one with its keys."),
    LazyCommand("plugins", "chainkit.cli.plugins:plugins", "List the installed plugins, the broken ones with the reason."),
    LazyCommand("new", "chainkit.cli.new:new", "Write a plugin package that works at once."),
]


class CommandLine(click.Group):
    """``chainkit``. Plugins are loaded once, before the first command that needs them; it gets them as ``ctx.obj``.

    Attributes:
        host: The loaded plugins; None before they are needed.
        traceback: Whether to show the traceback of errors that a user caused, too.
    """

    def __init__(self) -> None:
        super().__init__("chainkit", help="Train, sample and judge generative chains.", commands=COMMANDS, params=_options())
        self.host: Host | None = None
        self.traceback = False

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Adds a command of a plugin.

        Raises:
            ValueError: There is a command of this name.
        """
        if (name or cmd.name) in self.commands:
            raise ValueError(f"there is a command {name or cmd.name!r} already")
        super().add_command(cmd, name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        self.load(ctx)
        return list(self.commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.commands:
            self.load(ctx)
        return super().get_command(ctx, cmd_name)

    def invoke(self, ctx: click.Context) -> Any:
        self.traceback = ctx.params["traceback"]
        try:
            self.load(ctx)
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise CutOff from error

    def load(self, ctx: click.Context) -> Host:
        """The plugins, loaded once, with the commands that they add; nothing is said while a line is completed.

        Arguments:
            ctx: The context of the group, whose options say how.
        """
        if self.host is None:
            completing, given = ctx.resilient_parsing, ctx.params
            with redirect_stderr(StringIO()) if completing else nullcontext():
                self.host = load_plugins(
                    disabled=given.get("disable_plugin", ()),
                    strict=False if completing else given.get("strict_plugins") or None,
                    tracing=False if completing else given.get("trace_plugins") or None,
                )
                ctx.obj = self.host
                self.host.call("chainkit_commands", group=self)
        return self.host


def _options() -> list[click.Parameter]:
    """Eager ones are read before ``--help``, which lists the commands of plugins."""
    return [
        click.Option(["--disable-plugin"], multiple=True, metavar="NAME", is_eager=True, help="Leave a plugin out; repeatable."),
        click.Option(["--strict-plugins"], is_flag=True, is_eager=True, help="Fail where a plugin cannot be loaded."),
        click.Option(["--trace-plugins"], is_flag=True, is_eager=True, help="Say which plugin answers which hook, and how long it takes."),
        click.Option(["--traceback"], is_flag=True, help="Show the traceback of every error."),
        click.Option(["--version"], is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version."),
    ]


def _version(ctx: click.Context, option: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        click.echo(f"chainkit {__version__}")
        ctx.exit()
