"""Every component of this plugin keeps the promises of its kind."""

from __future__ import annotations

import pytest

from chainkit.host import load_plugins
from chainkit.registry import Entry
from chainkit.testing import check_component

NAME = "placeholder"
HOST = load_plugins()
ENTRIES = [entry for entry in HOST.registry.entries() if entry.plugin.name == NAME]


def test_plugin_is_loaded_without_complaint() -> None:
    [plugin] = [plugin for plugin in HOST.plugins if plugin.name == NAME]
    assert (plugin.reason, plugin.notes) == (None, [])
    assert len(plugin.components) == len(ENTRIES) > 0


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry.kind}:{entry.component.name}")
def test_component_keeps_the_promises_of_its_kind(entry: Entry) -> None:
    check_component(entry.kind, entry.component)
