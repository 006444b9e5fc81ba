"""``chainkit components``."""

from __future__ import annotations

import textwrap

import click

from chainkit.cli import complete
from chainkit.cli.output import as_json, emit, table
from chainkit.host import Host
from chainkit.recipe.reference import Key, describe, example, keys, prose, summary
from chainkit.registry import Entry, suggest


@click.command("components")
@click.argument("words", nargs=-1, metavar="[KIND | show KIND:NAME]", shell_complete=complete.components)
@as_json
@click.pass_obj
def components(host: Host, words: tuple[str, ...], as_json: bool) -> None:
    """List what recipes are made of, all or those of one KIND; or show one with its keys, defaults and an example."""
    host.import_configs()
    match words:
        case []:
            _list(host.registry.entries(), as_json)
        case [kind]:
            _list(host.registry.entries(_known(kind, host)), as_json)
        case ["show", name]:
            kind, _, plain = name.partition(":")
            _show(host.registry.find(_known(kind, host), plain), as_json)
        case _:
            raise click.UsageError("give nothing, a KIND, or: show KIND:NAME")


def _known(kind: str, host: Host) -> str:
    known = host.registry.kinds()
    if kind not in known:
        raise click.UsageError(f"there is no kind {kind!r} of component{suggest(kind, known)}")
    return kind


def _list(entries: list[Entry], as_json: bool) -> None:
    if as_json:
        emit([describe(entry) for entry in entries])
    elif entries:
        table([(f"{entry.kind}:{entry.component.name}", entry.plugin.id, summary(entry.component.config)) for entry in entries])


def _show(entry: Entry, as_json: bool) -> None:
    if as_json:
        emit(describe(entry))
        return
    component = entry.component
    click.echo(f"{entry.kind} {component.name}, from {entry.plugin}\n\n{prose(component.config)}")
    for key in keys(component.config):
        click.echo(_paragraph(key))
    click.echo(f"\nexample\n{textwrap.indent(example(component).rstrip(), '  ')}")


def _paragraph(key: Key) -> str:
    default = "required" if key.required else f"default {key.default}" if key.default else "may be left out"
    meaning = textwrap.fill(key.meaning, width=96, initial_indent="    ", subsequent_indent="    ")
    return f"\n{key.name}: {key.type}; {default}\n{meaning}".rstrip()
