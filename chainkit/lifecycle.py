"""Calls lifecycle hooks, one plugin at a time, so that one which fails is named and harms no other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pluggy

from chainkit.errors import ChainkitError, PluginError


class Lifecycle:
    """The lifecycle hooks of one run.

    Arguments:
        manager: The plugin manager.
        say: Takes one line about a plugin that failed.
        strict: Whether a failing plugin ends the run.
    """

    def __init__(self, manager: pluggy.PluginManager, say: Callable[[str], None], *, strict: bool = False) -> None:
        self.manager = manager
        self.say = say
        self.strict = strict
        self._failed: set[str] = set()

    def call(self, hook: str, **arguments: Any) -> dict[str, Any]:
        """Calls a hook of every plugin; one that failed before is left out.

        Arguments:
            hook: Name of the hook, such as ``chainkit_epoch_end``.
            arguments: Its arguments.

        Returns:
            What the plugins returned, by plugin name, without Nones.

        Raises:
            PluginError: A plugin failed, and failures are fatal.
        """
        returned = {}
        for implementation in reversed(getattr(self.manager.hook, hook).get_hookimpls()):
            name = implementation.plugin_name
            if name in self._failed:
                continue
            try:
                value = implementation.function(*(arguments[argument] for argument in implementation.argnames))
            except Exception as error:
                self._note(name, hook, error)
            else:
                if value is not None:
                    returned[name] = value
        return returned

    def _note(self, name: str, hook: str, error: Exception) -> None:
        self._failed.add(name)
        reason = str(error) if isinstance(error, ChainkitError) else f"{type(error).__name__}: {error}"
        line = f"plugin {name} failed in {hook} and is left out from here on ({reason})"
        if self.strict:
            raise PluginError(line) from error
        self.say(line)
