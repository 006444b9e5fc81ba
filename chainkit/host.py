"""The plugin host: loads the entry points of the group ``chainkit``.

A plugin is loaded whole or not at all. Whatever goes wrong while one is loaded (it cannot be
imported, it exits, it returns something that is no component, it misspells a hook, it was written
for another API) withdraws that plugin alone: one line on stderr says which plugin of which
distribution and why, and so does every later error about a name that might have been its own.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pluggy

from chainkit import contract
from chainkit.blame import explain
from chainkit.calling import Caller
from chainkit.component import Part
from chainkit.discovery import Found, discover
from chainkit.errors import PluginError
from chainkit.plugin import Plugin
from chainkit.registry import Registry, clash, suggest
from chainkit.tracing import trace

SLOW = 10.0
"""Seconds after which a plugin is said to be slow to load."""


class Host(Caller):
    """The loaded plugins; the arguments are those of :class:`~chainkit.calling.Caller`.

    Attributes:
        registry: The components.
        recipes: Folders of recipes, by the plugin that ships them.
        views: References to ways to look at a run, by name, with the plugin that provides each.
    """

    def __init__(self, strict: bool = False, tracing: bool = False) -> None:
        super().__init__(strict, tracing)
        self.recipes: list[tuple[Plugin, Path]] = []
        self.registry = Registry(self.plugins, self.recipes)
        self.views: dict[str, tuple[Plugin, str]] = {}

    def add(self, plugin: object, name: str, *, distribution: str = "", version: str = "") -> Plugin:
        """Loads an object or module as a plugin, as if an entry point had named it.

        Arguments:
            plugin: It implements hooks and states ``chainkit_api``.
            name: Name of the plugin.
            distribution: Name of its distribution.
            version: Version of its distribution.

        Raises:
            PluginError: It cannot be loaded, and the host is strict.
        """
        record = Plugin(name=name, id=name, distribution=distribution, version=version)
        self.load(record, lambda: plugin)
        return record

    def load(self, record: Plugin, get: Callable[[], object]) -> None:
        """Loads a plugin, or records why it cannot be loaded.

        Arguments:
            record: The record to fill in and keep.
            get: Imports the plugin.

        Raises:
            PluginError: It cannot be loaded, and the host is strict.
            ValueError: Its id is taken.
        """
        if any(plugin.id == record.id for plugin in self.plugins):
            raise ValueError(f"there is a plugin {record.id} already")
        self.plugins.append(record)
        began, torch_before = time.perf_counter(), "torch" in sys.modules
        if self.tracing:  # before the import too: one that never returns is the last line
            trace("import", record.id, record.module)
        try:
            self._register(record, self._ask("import", record.id, get))
        except KeyboardInterrupt:
            print(f"chainkit: {record} was being loaded", file=sys.stderr)
            raise
        except BaseException as error:
            self._break(record, explain(error, record.module))
        record.seconds = time.perf_counter() - began
        if "torch" in sys.modules and not torch_before:
            self.note(record, "it imports torch while it is loaded, which makes every command slow")
        elif record.seconds > SLOW:
            self.note(record, f"it takes {record.seconds:.1f} s to load, which makes every command slow")

    def _register(self, record: Plugin, plugin: object) -> None:
        contract.check_api(plugin)
        contract.check_marks(plugin)
        if (other := self.manager.get_name(plugin)) is not None:
            raise PluginError(f"its module is that of plugin {other}")
        self.manager.register(plugin, name=record.id)
        callers = self.manager.get_hookcallers(plugin) or []
        contract.check_hooks(callers)
        record.hooks = sorted(caller.name for caller in callers)
        answers = {caller.name: self._registered(caller, record, plugin) for caller in callers if contract.registers(caller.name)}
        for kind, components in contract.contributed(answers).items():
            for component in components:
                self.registry.add(record, kind, component)
                record.components.append(f"{kind}:{component.name}")
        self.recipes += [(record, folder) for folder in contract.folders(answers.get("chainkit_recipes", []))]
        found = contract.views(answers.get("chainkit_views", {}), self.views)
        self.views |= {name: (record, reference) for name, reference in found.items()}

    def _registered(self, caller: pluggy.HookCaller, record: Plugin, plugin: object) -> Any:
        own = [impl for impl in caller.get_hookimpls() if impl.plugin is plugin]
        if len(own) > 1:
            raise PluginError(f"{caller.name} is implemented more than once")
        try:
            return self._ask(caller.name, record.id, own[0].function)
        except Exception as error:
            raise PluginError(f"{caller.name} raised {explain(error, record.module)}") from error

    def _break(self, record: Plugin, reason: str) -> None:
        record.state, record.reason, record.components = "broken", reason, []
        self.registry.withdraw(record)
        self.recipes[:] = [(owner, folder) for owner, folder in self.recipes if owner is not record]
        if self.manager.has_plugin(record.id):
            self.manager.unregister(name=record.id)
        self.complain(f"{record} could not be loaded: {reason}")

    def import_configs(self) -> None:
        """Imports every config class given by reference, and withdraws the plugins of those that cannot be used; if strict, PluginError."""
        for record in [plugin for plugin in self.plugins if plugin.state == "loaded"]:
            try:
                for entry in self.registry.of(record):
                    _ = entry.component.config
            except PluginError as error:
                self._break(record, str(error))

    def part(self, kind: str, name: str, **settings: Any) -> Part:
        """A component outside a recipe, for scripts and command lines.

        Arguments:
            kind: Kind of component.
            name: Its name, or ``plugin:name``.
            settings: Its settings, as a recipe would write them.

        Raises:
            RecipeError: There is no such component, or its settings cannot be used.
        """
        from chainkit.recipe.read import read_part  # not every command reads recipes

        return read_part(kind, {"type": name, **settings}, self.registry, f"{kind} {name}")

    def versions(self) -> dict[str, str]:
        """By id of each loaded plugin, its distribution and version."""
        return {plugin.id: f"{plugin.distribution} {plugin.version}".strip() for plugin in self.plugins if plugin.state == "loaded"}


def _switched_on(variable: str) -> bool:
    return os.environ.get(variable, "0") not in ("", "0")


def load_plugins(*, disabled: Iterable[str] = (), strict: bool | None = None, tracing: bool | None = None) -> Host:
    """Loads every installed plugin.

    Arguments:
        disabled: Plugins to leave out, by name, id or distribution; those that the environment
            variable ``CHAINKIT_DISABLE_PLUGINS`` lists, separated by commas, are left out too.
        strict: Whether trouble with a plugin is an error; None is True where the environment
            variable ``CHAINKIT_STRICT_PLUGINS`` is set to anything but 0.
        tracing: Whether to say which plugin answers which hook; None asks ``CHAINKIT_TRACE_PLUGINS`` likewise.

    Raises:
        PluginError: Plugins cannot be loaded or clash with others, and the host is strict; the message names all.
    """
    left_out = {*disabled, *filter(None, os.environ.get("CHAINKIT_DISABLE_PLUGINS", "").replace(" ", "").split(","))}
    host = Host(
        strict=_switched_on("CHAINKIT_STRICT_PLUGINS") if strict is None else strict,
        tracing=_switched_on("CHAINKIT_TRACE_PLUGINS") if tracing is None else tracing,
    )
    with host.gathering():
        for found in discover():
            _load_found(host, found, left_out)
        for name in sorted(left_out):
            if not any(plugin.answers_to(name) for plugin in host.plugins):
                host.complain(f"there is no plugin {name!r} to disable{suggest(name, [plugin.name for plugin in host.plugins])}")
        for entries in host.registry.clashes():
            host.complain(clash(entries))
    return host


def _load_found(host: Host, found: Found, left_out: set[str]) -> None:
    record = found.record
    if any(record.answers_to(name) for name in left_out):
        record.state = "disabled"
        host.plugins.append(record)
        return
    host.load(record, found.load)
    if found.note:
        host.note(record, found.note)
