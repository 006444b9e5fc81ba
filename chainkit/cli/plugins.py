"""``chainkit plugins``."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

import attrs
import click

from chainkit.cli.output import as_json, columns, emit
from chainkit.host import Host
from chainkit.plugin import Plugin


@click.command("plugins")
@as_json
@click.pass_obj
def plugins(host: Host, as_json: bool) -> None:
    """List the installed plugins: state, distribution, what each gives, time to load; the broken ones with the reason."""
    if as_json:
        emit([attrs.asdict(plugin) for plugin in host.plugins])
        return
    if host.plugins:
        head, *rows = columns([("plugin", "state", "distribution", "load"), *map(_row, host.plugins)])
        click.echo(head)
        for plugin, row in zip(host.plugins, rows, strict=True):
            click.echo("\n".join([row, *_details(plugin)]))


def _row(plugin: Plugin) -> tuple[str, ...]:
    return plugin.id, plugin.state, f"{plugin.distribution} {plugin.version}".strip(), f"{1000 * plugin.seconds:.0f} ms"


def _details(plugin: Plugin) -> Iterator[str]:
    """What a plugin gives and what is wrong with it, below its row."""
    for name, words in (("components", plugin.components), ("hooks", plugin.hooks)):
        if words:
            yield textwrap.fill(", ".join(words), 110, initial_indent=f"    {name:<12}", subsequent_indent=" " * 16, break_on_hyphens=False)
    for line in filter(None, [plugin.reason, *plugin.notes]):
        yield f"    {'trouble':<12}{line}"
