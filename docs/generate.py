"""Writes what the documentation takes from the code: run ``python docs/generate.py`` after changing a recipe or a component.

A generated part stands between ``<!-- generated: NAME -->`` and ``<!-- end: NAME -->``; a test compares
each with what this module gives.
"""

from __future__ import annotations

import importlib
import inspect
import re
import tomllib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import attrs
import click

from chainkit.cli.group import CommandLine, LazyCommand
from chainkit.component import HOOKS
from chainkit.host import Host, load_plugins
from chainkit.recipe import ShippedRecipe, read_recipe, shipped_recipes
from chainkit.recipe.parts import parts
from chainkit.recipe.reference import Key, describe, keys, prose
from chainkit.recipe.schema import ChainTable, EvaluateTable, Recipe, SampleTable, TrainTable, ValidateTable
from chainkit.registry import Entry

ROOT = Path(__file__).parents[1]
PAPERS = {
    "vw": "walkback paper",
    "infusion": "infusion paper",
    "diffusion": "diffusion paper",
    "gsn": "infusion paper",
    "rbm": "Salakhutdinov and Murray 2008",
    "dae": "*Deep Learning*",
}
TABLES = {
    "": Recipe,
    "chain": ChainTable,
    "train": TrainTable,
    "validate": ValidateTable,
    "sample": SampleTable,
    "evaluate": EvaluateTable,
}

_NUMBERS = r"[\dA]+(?:\.\d+)?"
_STANDS_FOR = re.compile(rf"(?:figure|table)s? {_NUMBERS}(?:(?:, | and | to ){_NUMBERS})*\b(?! bits)")
_SOURCE = re.compile(r" \([^()]*(?:paper|et al\.)[^()]*\)$")
_CODE = re.compile(r"(`[^`]*`)")


def markdown(text: str) -> str:
    """Prose of a docstring as Markdown that may stand in a table."""
    plain = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", " ".join(text.split())).replace("``", "`")
    parts = [part if part.startswith("`") else re.sub(r"([*<])", r"\\\1", part) for part in _CODE.split(plain)]
    return "".join(parts).replace("|", r"\|")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def key_table(found: Sequence[Key]) -> str:
    """The keys of a table."""

    def default(key: Key) -> str:
        if key.required:
            return "required"
        if key.default is None:
            return "left out"
        return "as below" if key.default.startswith("the ") else f"`{key.default}`"

    return table(
        ("key", "type", "default", "meaning"),
        [(f"`{key.name}`", markdown(key.type), default(key).replace("|", r"\|"), markdown(key.meaning)) for key in found],
    )


def recipe_table(host: Host) -> str:
    """One row per shipped recipe."""
    return table(("recipe", "what", "stands for", "download"), [_recipe_row(recipe, host) for recipe in shipped_recipes(host)])


def _recipe_row(recipe: ShippedRecipe, host: Host) -> tuple[str, ...]:
    text = recipe.path.read_text(encoding="utf-8")
    tables = tomllib.loads(text)
    *_, data = (part for part in parts(read_recipe(recipe.path, host.registry).data) if part.kind == "dataset")  # the innermost
    comment = " ".join(line.lstrip("# ") for line in text.split("\ntitle")[0].splitlines())
    found = [match[0] for match in _STANDS_FOR.finditer(comment)]
    paper = PAPERS.get(recipe.name.partition("_")[0], "")
    stands_for = ", ".join(filter(None, [paper, *dict.fromkeys(found)])) if found else "no published figure"
    small = ", in small" if found and data.name == "digits" else ""
    link = f"[{recipe.name}](recipes/{recipe.path.name})"
    return link, markdown(_SOURCE.sub("", tables["title"])), stands_for + small, _download(type(data.config))


def _download(config: type) -> str:
    settings = attrs.fields_dict(config)
    return "yes" if "download" in settings else "by hand" if "root" in settings else "no"


def schema() -> str:
    """Every table of a recipe with its keys."""
    sections = []
    for name, config in TABLES.items():
        title = f"`[{name}]`" if name else "The top of a recipe"
        sections.append(f"### {title}\n\n{key_table(keys(config))}")
    return "\n".join(sections)


def components(host: Host) -> str:
    """Every component that comes with chainkit, by kind."""
    index, sections = [], []
    for kind in host.registry.kinds():
        hook = HOOKS.get(kind, "chainkit_parts")
        entries = [entry for entry in host.registry.entries(kind) if entry.plugin.distribution == "chainkit"]
        links = ", ".join(f"[{entry.component.name}](#{kind}{entry.component.name})" for entry in entries)
        index.append((kind, f"`{hook}`", links))
        sections.append(f"## {kind}\n\n" + "\n".join(_component(entry) for entry in entries))
    return "\n".join([table(("kind", "hook", "components"), index), *sections])


def _component(entry: Entry) -> str:
    known: dict[str, Any] = describe(entry)
    words = "\n\n".join(markdown(paragraph) for paragraph in prose(entry.component.config).split("\n\n"))
    lines = [f"### {entry.kind}:{known['name']}", "", words, "", f"From plugin `{known['plugin']}`."]
    if known["provides"] is None:
        lines[-1] += " What it provides depends on its settings."
    elif known["provides"]:
        lines[-1] += f" Provides {_names(known['provides'])}."
    for kind, types in known["needs"].items():
        lines[-1] += f" Needs of the {kind}: {_names(types)}."
    lines += ["", key_table(keys(entry.component.config)) if known["keys"] else "It has no keys.\n"]
    return "\n".join([*lines, f"```toml\n{known['example'].rstrip()}\n```\n"])


def _names(types: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in types)


def commands(host: Host) -> str:
    """Every command that comes with chainkit, with its usage and options."""
    group = CommandLine()
    host.call("chainkit_commands", group=group)
    group.host = host
    with click.Context(group, info_name="chainkit") as context:
        before_any = "## Before any command\n\nThese stand between `chainkit` and the command.\n\n" + _options(group, context)
        return "\n".join([before_any, *(_command(command, context) for command in group.commands.values() if _shipped(_real(command)))])


def _real(command: click.Command) -> click.Command:
    """The command that one stands for that is imported when it is used."""
    if not isinstance(command, LazyCommand):
        return command
    module, _, attribute = command.target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _shipped(command: click.Command) -> bool:
    return command.callback is not None and Path(inspect.getfile(inspect.unwrap(command.callback))).is_relative_to(ROOT)


def _command(command: click.Command, parent: click.Context) -> str:
    """A command, and those inside it."""
    command = _real(command)
    with click.Context(command, info_name=command.name, parent=parent) as context:
        usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
        words = "\n\n".join(markdown(paragraph) for paragraph in inspect.cleandoc(command.help or "").split("\n\n"))
        text = f"## {context.command_path}\n\n    {usage}\n\n{words}\n\n{_options(command, context)}".rstrip() + "\n"
        inside = command.commands.values() if isinstance(command, click.Group) else []
        return "\n".join([text, *(_command(other, context) for other in inside)])


def _options(command: click.Command, context: click.Context) -> str:
    options = [option for option in command.params if isinstance(option, click.Option) and not option.hidden]
    records = [record for option in options if (record := option.get_help_record(context))]
    rows = [(f"`{name}`".replace("|", r"\|"), markdown(meaning)) for name, meaning in records]
    return table(("option", "meaning"), rows) if rows else ""


def script() -> str:
    """The research script."""
    return f"```python\n{(ROOT / 'docs' / 'examples' / 'research.py').read_text(encoding='utf-8')}```\n"


GENERATED: dict[str, tuple[str, Callable[[Host], str]]] = {
    "recipe table": ("README.md", recipe_table),
    "research script": ("README.md", lambda host: script()),
    "tables and keys": ("docs/recipes.md", lambda host: schema()),
    "components": ("docs/components.md", components),
    "commands": ("docs/commands.md", commands),
}
"""By name of each generated part: its file, and what gives it."""


def inserted(text: str, name: str, content: str) -> str:
    """A text with a generated part replaced.

    Raises:
        ValueError: It has no place for it.
    """
    start, end = f"<!-- generated: {name} -->\n", f"<!-- end: {name} -->"
    before, found, rest = text.partition(start)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"there is no place for {name!r}: {start.strip()} ... {end}")
    return f"{before}{start}{content}{end}{after}"


def main() -> None:
    """Writes every generated part."""
    host = load_plugins(strict=True)
    for name, (file, give) in GENERATED.items():
        path = ROOT / file
        path.write_text(inserted(path.read_text(encoding="utf-8"), name, give(host)), encoding="utf-8")


if __name__ == "__main__":
    main()
