"""The plugin host: loads the entry points of the group ``chainkit`` and calls their hooks.

A plugin is loaded whole or not at all. Whatever goes wrong while one is loaded (it cannot be
imported, it exits, it returns something that is no component, it misspells a hook, it was written
for another API) withdraws that plugin alone: one line on stderr says which plugin of which
distribution and why, and so does every later error about a name that might have been its own.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import pluggy

from chainkit import contract, hookspecs
from chainkit.blame import explain
from chainkit.component import Part
from chainkit.discovery import Found, discover
from chainkit.errors import ChainkitError, PluginError
from chainkit.plugin import Plugin
from chainkit.registry import Registry, clash, suggest
from chainkit.tracing import trace, traced

SLOW = 10.0
"""Seconds after which a plugin is said to be slow to load."""


class Host:
    """The loaded plugins.

    Arguments:
        strict: Whether trouble with a plugin is an error instead of a warning.
        tracing: Whether to say on stderr which plugin answers which hook, and how long it takes.

    Attributes:
        manager: The pluggy manager.
        registry: The components.
        plugins: A record of every plugin, the missing ones too.
        observers: Records of the objects that watch the present run.
        recipes: Folders of recipes, by the plugin that ships them.
        views: References to ways to look at a run, by name, with the plugin that provides each.
    """

    def __init__(self, strict: bool = False, tracing: bool = False) -> None:
        self.strict = strict
        self.tracing = tracing
        self.manager = pluggy.PluginManager("chainkit")
        self.manager.add_hookspecs(hookspecs)
        self.plugins: list[Plugin] = []
        self.observers: list[Plugin] = []
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
            self._break(record, explain(error, __file__))
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
        answers = {caller.name: self._registered(caller, record.id, plugin) for caller in callers if contract.registers(caller.name)}
        for kind, components in contract.contributed(answers).items():
            for component in components:
                self.registry.add(record, kind, component)
                record.components.append(f"{kind}:{component.name}")
        self.recipes += [(record, folder) for folder in contract.folders(answers.get("chainkit_recipes", []))]
        found = contract.views(answers.get("chainkit_views", {}), self.views)
        self.views |= {name: (record, reference) for name, reference in found.items()}

    def _registered(self, caller: pluggy.HookCaller, id: str, plugin: object) -> Any:
        own = [impl for impl in caller.get_hookimpls() if impl.plugin is plugin]
        if len(own) > 1:
            raise PluginError(f"{caller.name} is implemented more than once")
        try:
            return self._ask(caller.name, id, own[0].function)
        except Exception as error:
            raise PluginError(f"{caller.name} raised {explain(error, __file__)}") from error

    def _ask(self, hook: str, id: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Runs a plugin's code; what it prints is no data, so it goes to stderr."""
        with redirect_stdout(sys.stderr):
            return traced(hook, id, function, *arguments) if self.tracing else function(*arguments)

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

    def note(self, record: Plugin, note: str) -> None:
        """Says and records that something is wrong with a plugin that works."""
        record.notes.append(note)
        self.complain(f"{record}: {note}")

    def complain(self, line: str) -> None:
        """Warns on stderr in one line.

        Raises:
            PluginError: The host is strict.
        """
        if self.strict:
            raise PluginError(line)
        print(f"chainkit: warning: {line}", file=sys.stderr)

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

    def call(self, hook: str, **arguments: Any) -> dict[str, Any]:
        """Calls a hook of every plugin that implements it.

        A plugin that raises is reported and unregistered, and the others are called: an observer
        never stops a run. Only an error meant for the user (:class:`ChainkitError`) is passed on.

        Arguments:
            hook: Name of the hook.
            arguments: Its arguments.

        Returns:
            By plugin id, what each returned, in pluggy's order: the last one registered comes first.

        Raises:
            PluginError: A plugin raised, and the host is strict.
        """
        answers = {}
        for impl in reversed(getattr(self.manager.hook, hook).get_hookimpls()):
            try:
                answer = self._ask(hook, impl.plugin_name, impl.function, *(arguments[name] for name in impl.argnames))
            except ChainkitError:
                raise
            except (Exception, SystemExit) as error:
                self._drop(impl.plugin_name, f"{hook} raised {explain(error, __file__)}", error)
                continue
            if fault := contract.fault(hook, answer):
                self._drop(impl.plugin_name, fault)
            else:
                answers[impl.plugin_name] = answer
        return answers

    def _drop(self, id: str, reason: str, error: BaseException | None = None) -> None:
        record = next(plugin for plugin in [*self.plugins, *self.observers] if plugin.id == id)
        record.notes.append(reason)
        if self.manager.has_plugin(id):  # a hook that a hook has led to may have dropped it before
            self.manager.unregister(name=id)
        if self.strict:
            raise PluginError(f"{record}: {reason}") from error
        self.complain(f"{record}: {reason}; its hooks are not called any more")

    @contextmanager
    def observing(self, observers: Sequence[tuple[Plugin, object]]) -> Iterator[None]:
        """Registers objects with lifecycle hooks for the time of a ``with`` block.

        Arguments:
            observers: The objects, each with a record that says whose it is, its id unique among plugins.

        Raises:
            PluginError: One misspells a hook or its arguments.
        """
        try:
            for record, observer in observers:
                self.observers.append(record)
                try:
                    contract.check_marks(observer)
                    self.manager.register(observer, name=record.id)
                    contract.check_hooks(self.manager.get_hookcallers(observer) or [])
                except (PluginError, ValueError, pluggy.PluginValidationError) as error:
                    raise PluginError(f"observer {record.name}: {explain(error, __file__)}") from error
            yield
        finally:
            for record in self.observers:
                if self.manager.has_plugin(record.id):
                    self.manager.unregister(name=record.id)
            self.observers = []


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
        PluginError: A plugin cannot be loaded or clashes with another, and the host is strict.
    """
    left_out = {*disabled, *filter(None, os.environ.get("CHAINKIT_DISABLE_PLUGINS", "").replace(" ", "").split(","))}
    host = Host(
        strict=_switched_on("CHAINKIT_STRICT_PLUGINS") if strict is None else strict,
        tracing=_switched_on("CHAINKIT_TRACE_PLUGINS") if tracing is None else tracing,
    )
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
