"""What can be written next on the command line: recipes, keys of ``--set``, components and run directories.

click asks for it when a shell does, and what reads recipes is imported only then. Nothing here imports torch,
and nothing is said about plugins that are broken or lines that make no sense yet: there is just less to choose from.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeAlias

import click
from click.shell_completion import BashComplete, CompletionItem, split_arg_string

from chainkit.cli.group import CommandLine
from chainkit.errors import ChainkitError
from chainkit.host import Host

Choices: TypeAlias = Iterable[tuple[str, str]]
"""Words that can be written, each with its meaning."""
Completer: TypeAlias = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _completer(choices: Callable[[Host, click.Context], Choices], otherwise: str | None = None) -> Completer:
    """What click asks, from what there is to choose from.

    Arguments:
        choices: Gives all that could be written.
        otherwise: What the shell completes where none of it begins like the word: ``file`` or ``dir``.
    """

    def complete(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        root = ctx.find_root()
        assert isinstance(root.command, CommandLine)
        try:
            given = [(word, meaning) for word, meaning in choices(root.command.load(root), ctx) if word.startswith(incomplete)]
        except ChainkitError:  # the recipe that is named does not exist yet, or cannot be read
            given = []
        found = [CompletionItem(word, help=meaning or None) for word, meaning in given]
        return found or ([CompletionItem(incomplete, type=otherwise)] if otherwise else [])

    return complete


def _recipes(host: Host, ctx: click.Context) -> Choices:
    from chainkit.recipe import shipped_recipes

    yield from ((recipe.name, recipe.title) for recipe in shipped_recipes(host))
    yield from ((str(path), "") for path in sorted(Path().glob("*.toml")))


def _keys(host: Host, ctx: click.Context) -> Choices:
    from chainkit.recipe import find_recipe, read_recipe
    from chainkit.recipe.settable import settable

    # A line that ends in ``--set`` is not parsed to its end, which leaves the recipe among the other words.
    name = ctx.params["recipe"] or next(iter(ctx.args), "")
    recipe = read_recipe(find_recipe(name, host), host.registry)
    return [(f"{key}=", meaning) for key, meaning in settable(recipe)]


def _components(host: Host, ctx: click.Context) -> Choices:
    from chainkit.recipe.reference import summary

    if ctx.params["words"] == ("show",):
        return [(f"{entry.kind}:{entry.component.name}", summary(entry.component.config)) for entry in host.registry.entries()]
    return [] if ctx.params["words"] else [("show", "one component"), *((kind, "") for kind in host.registry.kinds())]


def _runs(host: Host, ctx: click.Context) -> Choices:
    return [(str(path.parent), "") for path in sorted(Path().glob("runs/*/resolved.toml"))]


recipes = _completer(_recipes, otherwise="file")
keys = _completer(_keys)
components = _completer(_components)
runs = _completer(_runs, otherwise="dir")


class Bash(BashComplete):
    """Completion in bash, which cuts words at ``:`` and ``=`` and puts a space after each: neither is wanted here."""

    source_template = """\
%(complete_func)s() {
    local IFS=$'\\n' line=${COMP_LINE:0:COMP_POINT} typed tail cut item value
    typed=${line##*[[:space:]]}
    tail=$typed
    [[ $COMP_WORDBREAKS == *:* ]] && tail=${tail##*:}
    [[ $COMP_WORDBREAKS == *=* ]] && tail=${tail##*=}
    cut=${typed%%"$tail"}
    for item in $(env COMP_LINE="$line" %(complete_var)s=bash_complete "$1"); do
        value=${item#*,}
        case ${item%%%%,*} in
            file) compopt -o default ;;
            dir) compopt -o dirnames ;;
            *) COMPREPLY+=("${value#"$cut"}"); [[ $value == *= ]] && compopt -o nospace ;;
        esac
    done
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""

    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ["COMP_LINE"]
        words = split_arg_string(line)[1:]
        incomplete = words.pop() if words and not line[-1:].isspace() else ""
        return words, incomplete
