"""``chainkit plugins``."""

from __future__ import annotations

import attrs
import click

from chainkit.cli.output import as_json, emit, table
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
        table([("plugin", "state", "distribution", "components", "hooks", "load"), *map(_row, host.plugins)])
    for plugin in host.plugins:
        for line in filter(None, [plugin.reason, *plugin.notes]):
            click.echo(f"{plugin.id}: {line}")


def _row(plugin: Plugin) -> tuple[str, ...]:
    origin = f"{plugin.distribution} {plugin.version}"
    return plugin.id, plugin.state, origin, str(len(plugin.components)), str(len(plugin.hooks)), f"{1000 * plugin.seconds:.0f} ms"
