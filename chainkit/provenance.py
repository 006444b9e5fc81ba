"""The plugins that a run was made with, and what has become of them since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chainkit.plugin import Plugin
from chainkit.registry import Registry


def registry_of_run(recorded: Mapping[str, str], registry: Registry) -> Registry:
    """The registry for a run's own recipe: an ambiguous name means a plugin of the run, an unknown one recalls those that are gone.

    Where plugins of the run share a name now, those of the same version are meant: the others did not have it then.

    Arguments:
        recorded: Distribution and version of each plugin, by its id, as ``environment.json`` has them.
        registry: The components of all plugins.
    """
    pairs = _pairs(recorded, registry.plugins)
    absent = [old for old in _plugins(recorded) if not any(_same(old, plugin) for plugin in registry.plugins)]
    unchanged = [new for old, new in pairs if old.version == new.version]
    return registry.preferring([new for _, new in pairs], unchanged).recalling(absent)


def changed_versions(recorded: Mapping[str, str], plugins: Sequence[Plugin]) -> list[str]:
    """What to say of plugins that are of another version than the run was made with, one line per distribution.

    Arguments:
        recorded: As for :func:`registry_of_run`.
        plugins: The records of all plugins.
    """
    names: dict[tuple[str, str, str], list[str]] = {}
    for old, new in _pairs(recorded, plugins):
        if new.state == "loaded" and old.version != new.version:
            names.setdefault((new.distribution, old.version, new.version), []).append(new.name)
    return [
        f"plugin{'s' * (len(each) > 1)} {', '.join(each)} of {distribution}: the run was made with version {old}, and this is {new}"
        for (distribution, old, new), each in names.items()
    ]


def _pairs(recorded: Mapping[str, str], plugins: Sequence[Plugin]) -> list[tuple[Plugin, Plugin]]:
    return [(old, new) for old in _plugins(recorded) for new in plugins if _same(old, new)]


def _plugins(recorded: Mapping[str, str]) -> list[Plugin]:
    """Their records; an id ends in @ and the distribution where two plugins had one name."""
    made = []
    for id, words in recorded.items():
        distribution, _, version = words.partition(" ")
        made.append(Plugin(name=id.partition("@")[0], id=id, distribution=distribution, version=version, state="absent"))
    return made


def _same(old: Plugin, new: Plugin) -> bool:
    return (old.name, old.distribution) == (new.name, new.distribution)
