"""What recipes may write for a component: its keys with types, defaults and meaning, from its config class."""

from __future__ import annotations

import inspect
import re
from typing import Any

import attrs
import tomli_w

from chainkit.component import Component
from chainkit.recipe.words import hints, spelled, written
from chainkit.registry import Entry

_SECTION = re.compile(r"^(Arguments|Raises|Returns|Attributes):\n(?:(?: {4}.*)?(?:\n|$))*", re.MULTILINE)
_KEY = re.compile(r"^ {4}(\w+): ?((?:.*(?:\n {6,}.*)*))", re.MULTILINE)


@attrs.frozen(kw_only=True)
class Key:
    """One key of a table.

    Arguments:
        name: The key.
        type: Its type in words.
        required: Whether it must be given.
        default: The default as TOML; None where there is none, or where it means that the key is left out.
        meaning: What it means, from the docstring.
    """

    name: str
    type: str
    required: bool
    default: str | None
    meaning: str


def keys(config: type) -> list[Key]:
    """The keys of a config class, in its order."""
    types, meanings = hints(config), _meanings(config)
    return [_key(field, types[field.name], meanings.get(field.name, "")) for field in attrs.fields(config) if field.init]


def _key(field: attrs.Attribute[Any], annotation: Any, meaning: str) -> Key:
    default: Any = field.default
    if isinstance(default, attrs.Factory) and not default.takes_self:  # type: ignore[arg-type]
        default = default.factory()
    known = default is not None and not isinstance(default, (type(attrs.NOTHING), attrs.Factory))  # type: ignore[arg-type]
    return Key(
        name=field.name,
        type=spelled(annotation),
        required=default is attrs.NOTHING,
        default=written(default) if known else None,
        meaning=meaning,
    )


def prose(config: type) -> str:
    """The docstring of a config class without its sections of keys and errors."""
    return _SECTION.sub("", inspect.cleandoc(config.__doc__ or "") + "\n").strip()


def summary(config: type) -> str:
    """The first sentence of a config class's docstring."""
    return prose(config).partition("\n")[0]


def example(component: Component) -> str:
    """The smallest table that works, as TOML."""
    return tomli_w.dumps({"type": component.name, **component.example})


def describe(entry: Entry) -> dict[str, Any]:
    """All that is known of a component, as JSON data."""
    component, plugin = entry.component, entry.plugin
    fixed = None if callable(component.provides) else [capability.__name__ for capability in component.provides]
    return {
        "kind": entry.kind,
        "name": component.name,
        "plugin": plugin.id,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "description": prose(component.config),
        "keys": [attrs.asdict(key) for key in keys(component.config)],
        "example": example(component),
        "provides": fixed,
        "needs": {kind: [capability.__name__ for capability in types] for kind, types in component.needs.items()},
    }


def _meanings(config: type) -> dict[str, str]:
    """The ``Arguments`` sections of the class and of those that it inherits keys from."""
    found: dict[str, str] = {}
    for base in reversed([base for base in config.__mro__ if attrs.has(base)]):
        for section in _SECTION.finditer(inspect.cleandoc(base.__dict__.get("__doc__") or "") + "\n"):
            if section[1] == "Arguments":
                found |= {match[1]: " ".join(match[2].split()) for match in _KEY.finditer(section[0])}
    return found
