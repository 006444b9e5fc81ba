"""Calling the hooks of plugins: an observer never stops a run, and never changes what it watches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any

import pluggy

from chainkit import contract, hookspecs
from chainkit.blame import explain
from chainkit.errors import ChainkitError, PluginError
from chainkit.plugin import Plugin
from chainkit.tracing import traced

if TYPE_CHECKING:
    from chainkit.run import Run


class Caller:
    """Calls hooks, and drops the plugin whose hook fails.

    Arguments:
        strict: Whether trouble with a plugin is an error instead of a warning.
        tracing: Whether to say on stderr which plugin answers which hook, and how long it takes.

    Attributes:
        manager: The pluggy manager.
        plugins: A record of every plugin, the missing ones too.
        observers: Records of the objects that watch the present run.
    """

    def __init__(self, strict: bool = False, tracing: bool = False) -> None:
        self.strict = strict
        self.tracing = tracing
        self.manager = pluggy.PluginManager("chainkit")
        self.manager.add_hookspecs(hookspecs)
        self.plugins: list[Plugin] = []
        self.observers: list[Plugin] = []
        self._gathered: list[str] | None = None

    def note(self, record: Plugin, note: str) -> None:
        """Says and records that something is wrong with a plugin that works."""
        record.notes.append(note)
        self.complain(f"{record}: {note}")

    def complain(self, line: str) -> None:
        """Warns on stderr in one line.

        Raises:
            PluginError: The host is strict.
        """
        if self._gathered is not None:
            self._gathered.append(line)
        elif self.strict:
            raise PluginError(line)
        else:
            print(f"chainkit: warning: {line}", file=sys.stderr)

    @contextmanager
    def gathering(self) -> Iterator[None]:
        """Until the end of a ``with`` block, what is an error because the host is strict is gathered, to be raised as one.

        Raises:
            PluginError: There was trouble, and the host is strict; its message has a line for each.
        """
        if self.strict:
            self._gathered = []
        yield
        gathered, self._gathered = self._gathered, None
        if gathered:
            raise PluginError("\n".join(gathered))

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
        return self._call(hook, lambda id: arguments)

    def restore(self, run: Run, kept: Mapping[str, Any]) -> None:
        """Calls ``chainkit_checkpoint_load`` of every plugin with what it kept itself.

        Arguments:
            run: The run.
            kept: By plugin id, what ``chainkit_checkpoint_save`` returned.

        Raises:
            PluginError: A plugin raised, and the host is strict.
        """
        self._call("chainkit_checkpoint_load", lambda id: {"run": run, "state": kept.get(id)})

    def _call(self, hook: str, arguments: Callable[[str], Mapping[str, Any]]) -> dict[str, Any]:
        """Calls a hook with arguments that may depend on the plugin's id."""
        answers = {}
        for impl in reversed(getattr(self.manager.hook, hook).get_hookimpls()):
            given = arguments(impl.plugin_name)
            try:
                answer = self._ask(hook, impl.plugin_name, impl.function, *(given[name] for name in impl.argnames))
            except ChainkitError:
                raise
            except (Exception, SystemExit) as error:
                self._drop(impl.plugin_name, f"{hook} raised {explain(error, self._record(impl.plugin_name).module)}", error)
                continue
            if fault := contract.fault(hook, answer):
                self._drop(impl.plugin_name, fault)
            else:
                answers[impl.plugin_name] = answer
        return answers

    def _drop(self, id: str, reason: str, error: BaseException | None = None) -> None:
        record = self._record(id)
        record.notes.append(reason)
        if self.manager.has_plugin(id):  # a hook that a hook has led to may have dropped it before
            self.manager.unregister(name=id)
        if self.strict:
            raise PluginError(f"{record}: {reason}") from error
        self.complain(f"{record}: {reason}; its hooks are not called any more")

    def _record(self, id: str) -> Plugin:
        return next(plugin for plugin in [*self.plugins, *self.observers] if plugin.id == id)

    @contextmanager
    def observing(self, observers: Sequence[tuple[Plugin, object]]) -> Iterator[None]:
        """Registers objects with lifecycle hooks for the time of a ``with`` block.

        Arguments:
            observers: The objects, each with a record that says whose it is, its id unique among plugins.

        Raises:
            PluginError: One misspells a hook or its arguments, or has none.
        """
        try:
            for record, observer in observers:
                self.observers.append(record)
                try:
                    contract.check_marks(observer)
                    self.manager.register(observer, name=record.id)
                    contract.check_observer(self.manager.get_hookcallers(observer) or [])
                except (PluginError, ValueError, pluggy.PluginValidationError) as error:
                    raise PluginError(f"observer {record.name}: {explain(error, record.module)}") from error
            yield
        finally:
            for record in self.observers:
                if self.manager.has_plugin(record.id):
                    self.manager.unregister(name=record.id)
            self.observers = []

    def _ask(self, hook: str, id: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Runs a plugin's code; what it prints is no data, so it goes to stderr."""
        with redirect_stdout(sys.stderr):
            return traced(hook, id, function, *arguments) if self.tracing else function(*arguments)
