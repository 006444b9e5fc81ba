"""The registry: every component of every loaded plugin, found by kind and name."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from copy import copy
from difflib import get_close_matches
from pathlib import Path

import attrs

from chainkit.component import HOOKS, Component
from chainkit.errors import RecipeError
from chainkit.plugin import Plugin


@attrs.frozen(kw_only=True)
class Entry:
    """A registered component with the plugin that registered it.

    Arguments:
        kind: One of the keys of :data:`chainkit.component.HOOKS`, or a kind that a plugin defined.
        component: The component.
        plugin: Who registered it.
    """

    kind: str
    component: Component
    plugin: Plugin

    @property
    def qualified(self) -> str:
        """``plugin:name``, which is never ambiguous."""
        return f"{self.plugin.id}:{self.component.name}"


class Registry:
    """Components by kind and name.

    A name that two plugins give to components of one kind is ambiguous: it resolves only as
    ``plugin:name``, unless one of them is preferred.

    Arguments:
        plugins: The records of all plugins, the missing ones too: an unknown name recalls them.
        recipes: Folders of recipes, by the plugin that ships them.

    Attributes:
        allowed: The only plugins whose components resolve; None allows all.
        preferred: The plugins that an ambiguous name means, and those of them that it means first, and so on.
    """

    def __init__(self, plugins: Sequence[Plugin] = (), recipes: Sequence[tuple[Plugin, Path]] = ()) -> None:
        self.plugins = plugins
        self.recipes = recipes
        self.allowed: Collection[str] | None = None
        self.preferred: Sequence[Collection[Plugin]] = ()
        self._entries: list[Entry] = []

    def add(self, plugin: Plugin, kind: str, component: Component) -> None:
        """Registers a component."""
        self._entries.append(Entry(kind=kind, component=component, plugin=plugin))

    def withdraw(self, plugin: Plugin) -> None:
        """Forgets every component of a plugin."""
        self._entries = [entry for entry in self._entries if entry.plugin is not plugin]

    def of(self, plugin: Plugin) -> list[Entry]:
        """The entries of one plugin."""
        return [entry for entry in self._entries if entry.plugin is plugin]

    def restricted(self, allowed: Collection[str]) -> Registry:
        """The same components, of which only those of some plugins resolve.

        Arguments:
            allowed: Plugins by id, name or distribution.

        Raises:
            RecipeError: No loaded plugin answers to one of the names.
        """
        problems = [
            self._unknown_plugin(name) for name in allowed if not any(p.answers_to(name) for p in self.plugins if p.state == "loaded")
        ]
        if problems:
            raise RecipeError(*problems)
        registry = copy(self)
        registry.allowed = allowed
        return registry

    def preferring(self, *preferred: Collection[Plugin]) -> Registry:
        """The same components, of which those of some plugins are meant where a name is ambiguous.

        Arguments:
            preferred: The plugins; where some of them share the name, the next ones decide.
        """
        registry = copy(self)
        registry.preferred = preferred
        return registry

    def recalling(self, absent: Sequence[Plugin]) -> Registry:
        """The same components; an unknown name recalls other missing plugins, too.

        Arguments:
            absent: Their records.
        """
        registry = copy(self)
        registry.plugins = [*self.plugins, *absent]
        return registry

    def kinds(self) -> list[str]:
        """Every kind of component: those of the core, and after them those that plugins defined."""
        return [*HOOKS, *sorted({entry.kind for entry in self._entries} - HOOKS.keys())]

    def entries(self, kind: str | None = None) -> list[Entry]:
        """All entries, of one kind or of all, sorted by kind, name and plugin."""
        chosen = [entry for entry in self._entries if kind in (None, entry.kind)]
        order = self.kinds()
        return sorted(chosen, key=lambda entry: (order.index(entry.kind), entry.component.name, entry.plugin.id))

    def resolve(self, kind: str, name: str) -> Component:
        """The component that a recipe means by ``name`` or ``plugin:name``; raises as :meth:`find`."""
        return self.find(kind, name).component

    def find(self, kind: str, name: str) -> Entry:
        """The entry that a recipe means.

        Arguments:
            kind: Kind of component.
            name: ``name``, or ``plugin:name`` where the plugin is given by id, name or distribution.

        Raises:
            RecipeError: There is none, or several, or its plugin is not allowed. The message
                recalls the plugins that are missing.
        """
        found = [entry for entry in self.entries(kind) if self._means(name, entry)]
        allowed = [entry for entry in found if self._allows(entry.plugin)]
        if not found:
            raise RecipeError(self._unknown(kind, name))
        if not allowed:
            raise RecipeError(f"{kind} {name!r} comes from {found[0].plugin}, which the recipe's list of plugins does not allow")
        for preferred in self.preferred:
            allowed = [entry for entry in allowed if entry.plugin in preferred] or allowed
        if len(allowed) > 1:
            raise RecipeError(clash(allowed))
        return allowed[0]

    def ambiguous(self, entry: Entry) -> bool:
        """Whether others that are allowed have the name of an entry, so that it is written ``plugin:name``."""
        return sum(other.component.name == entry.component.name and self._allows(other.plugin) for other in self.entries(entry.kind)) > 1

    def provider(self, component: Component) -> Plugin:
        """The plugin that registered a component."""
        return next(entry.plugin for entry in self._entries if entry.component is component)

    def clashes(self) -> list[list[Entry]]:
        """The entries that share one kind and name, grouped."""
        groups: dict[tuple[str, str], list[Entry]] = {}
        for entry in self.entries():
            groups.setdefault((entry.kind, entry.component.name), []).append(entry)
        return [group for group in groups.values() if len(group) > 1]

    def _means(self, name: str, entry: Entry) -> bool:
        plugin, colon, plain = name.rpartition(":")
        return plain == entry.component.name and (not colon or entry.plugin.answers_to(plugin))

    def _allows(self, plugin: Plugin) -> bool:
        return self.allowed is None or any(plugin.answers_to(name) for name in self.allowed)

    def _unknown(self, kind: str, name: str) -> str:
        known = dict.fromkeys(entry.component.name for entry in self.entries(kind) if self._allows(entry.plugin))
        return "; ".join([f"there is no {kind} {name!r}{suggest(name.rpartition(':')[2], known)}", *self.absences()])

    def _unknown_plugin(self, name: str) -> str:
        known = [plugin.name for plugin in self.plugins if plugin.state == "loaded"]
        missing = [plugin.absence for plugin in self.plugins if plugin.absence and plugin.answers_to(name)]
        return f"plugins: {'; '.join(missing)}" if missing else f"plugins: there is no plugin {name!r}{suggest(name, known)}"

    def absences(self) -> list[str]:
        """Why components of plugins are missing, a line for each plugin."""
        return [plugin.absence for plugin in self.plugins if plugin.absence]


def clash(entries: Sequence[Entry]) -> str:
    """What to say about entries that share a name.

    Arguments:
        entries: Two or more of them.
    """
    first = entries[0]
    providers = " and ".join(str(entry.plugin) for entry in entries)
    spellings = " or ".join(repr(entry.qualified) for entry in entries)
    return f"{first.kind} {first.component.name!r} is registered by {providers}; write {spellings}"


def suggest(name: str, known: Collection[str]) -> str:
    """The end of a message about an unknown name: what was probably meant, else all that is known.

    Arguments:
        name: What was written.
        known: What could have been written.
    """
    close = get_close_matches(name, known, n=3)
    if close:
        return f"; did you mean {' or '.join(map(repr, close))}?"
    return f"; there are {', '.join(known)}" if known else ""
