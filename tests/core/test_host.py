"""The plugin host: a plugin is loaded whole or not at all, and costs nobody else anything."""

from __future__ import annotations

import types
from typing import Annotated, Any

import attrs
import pytest

import chainkit
from chainkit.component import Component, Part
from chainkit.errors import ChainkitError, PluginError, RecipeError
from chainkit.host import Host
from chainkit.plugin import Plugin


@attrs.frozen(kw_only=True)
class Config:
    """Nothing to set."""


@attrs.frozen
class Positional:
    value: int = 0


@attrs.frozen(kw_only=True)
class Reserved:
    type: str = ""


@attrs.frozen(kw_only=True)
class Unresolved:
    value: Nowhere = None  # noqa: F821


def schedule(name: Any = "flat", **changes: Any) -> Component:
    return Component(**{"name": name, "config": Config, "build": "package.module:build", **changes})


def plugin(*components: Any, hook: str = "chainkit_schedules", api: Any = (1, 1), answer: Any = None) -> types.SimpleNamespace:
    def implementation() -> Any:
        return list(components) if answer is None else answer

    implementation.__name__ = hook
    return types.SimpleNamespace(chainkit_api=api, **{hook: chainkit.hookimpl(implementation)})


def raising(error: BaseException, hook: str = "chainkit_schedules", **arguments: None) -> types.SimpleNamespace:
    def implementation() -> None:
        raise error

    return types.SimpleNamespace(chainkit_api=(1, 1), **{hook: chainkit.hookimpl(implementation)})


def wrapping() -> types.SimpleNamespace:
    @chainkit.hookimpl(wrapper=True)
    def chainkit_schedules() -> Any:
        return (yield)

    return types.SimpleNamespace(chainkit_api=(1, 1), chainkit_schedules=chainkit_schedules)


def wrong_arguments() -> types.SimpleNamespace:
    @chainkit.hookimpl
    def chainkit_run_start(run: object, color: object) -> None: ...

    return types.SimpleNamespace(chainkit_api=(1, 1), chainkit_run_start=chainkit_run_start)


BROKEN = {
    "raises in a hook": (raising(ValueError("no luck")), "chainkit_schedules raised ValueError: no luck"),
    "exits in a hook": (raising(SystemExit(3)), "SystemExit: 3"),
    "returns a dict": (plugin(answer={"flat": 1}), "chainkit_schedules returned a dict, not a list of Component"),
    "returns names": (plugin("flat"), "returned a list with a str in it"),
    "returns no paths": (plugin("folder", hook="chainkit_recipes"), "chainkit_recipes returned something else than a list of Path"),
    "misspells a hook": (plugin(hook="chainkit_scheduls"), "there is no hook 'chainkit_scheduls'; did you mean 'chainkit_schedules'"),
    "misnames an argument": (wrong_arguments(), "color"),
    "wraps a hook": (wrapping(), "is a wrapper"),
    "forgets to mark a hook": (
        types.SimpleNamespace(chainkit_api=(1, 1), chainkit_priors=lambda: []),
        "is not a function marked with @chainkit.hookimpl",
    ),
    "needs a newer API": (plugin(api=(2, 3)), "chainkit API 2 to 3, and chainkit 0.1.0 has 1: update chainkit"),
    "needs an older API": (plugin(api=(0, 0)), "update the plugin"),
    "states no API": (types.SimpleNamespace(), "does not state its API range"),
    "states an odd API": (plugin(api="1"), "pair of integers"),
    "registers a name twice": (plugin(schedule(), schedule()), "registers the name 'flat' twice"),
    "registers an odd name": (plugin(schedule("Flat rate")), "a name is made of"),
    "has no config class": (plugin(schedule(config=dict)), "not an attrs class"),
    "has a positional config": (plugin(schedule(config=Positional)), "not keyword-only"),
    "has a reserved key": (plugin(schedule(config=Reserved)), "reserved"),
    "has an unknown annotation": (plugin(schedule(config=Unresolved)), "Nowhere"),
    "lists its parts": (plugin(schedule(), hook="chainkit_parts"), "returned a list, not a table of lists of Component by kind"),
    "takes a kind of the core": (
        plugin(hook="chainkit_parts", answer={"schedule": [schedule()]}),
        "components of kind 'schedule' are registered by chainkit_schedules",
    ),
    "names a kind oddly": (plugin(hook="chainkit_parts", answer={"My kind": []}), "a kind is named with a-z"),
    "has a part that is none": (plugin(hook="chainkit_parts", answer={"lens": ["flat"]}), "lens returned a list with a str in it"),
    "lists its views": (plugin("flat", hook="chainkit_views"), "chainkit_views returned a list, not a table of references by name"),
    "names a view oddly": (plugin(hook="chainkit_views", answer={"a view": "package:function"}), "a view is named as a method is"),
    "hides a view": (plugin(hook="chainkit_views", answer={"_view": "package:function"}), "a view is named as a method is"),
    "has a view that is no reference": (plugin(hook="chainkit_views", answer={"view": print}), "'view' is not a reference"),
    "has no build": (plugin(schedule(build="nothing")), "neither a function nor a reference"),
}


@pytest.fixture
def host() -> Host:
    host = Host()
    host.add(plugin(schedule("steady")), "good", distribution="good-dist", version="2.0")
    return host


def test_components_of_a_plugin_resolve_by_kind_and_name(host: Host) -> None:
    assert host.registry.resolve("schedule", "steady").name == "steady"
    assert host.registry.resolve("schedule", "good:steady").name == "steady"
    [record] = host.plugins
    assert (record.state, record.components, record.hooks) == ("loaded", ["schedule:steady"], ["chainkit_schedules"])


def test_two_plugins_cannot_show_different_things_under_one_name(host: Host) -> None:
    host.add(plugin(hook="chainkit_views", answer={"walk": "one:walk"}), "one")
    second = host.add(plugin(hook="chainkit_views", answer={"walk": "two:walk"}), "two")
    assert (second.state, second.reason) == ("broken", "chainkit_views: there is a view 'walk' already")
    assert {name: (record.id, reference) for name, (record, reference) in host.views.items()} == {"walk": ("one", "one:walk")}


def test_a_plugin_may_define_kinds_of_parts_and_others_add_to_them(host: Host) -> None:
    @attrs.frozen(kw_only=True)
    class Mount:
        """Holds a lens."""

        lens: Annotated[Part, "lens"]

    host.add(plugin(hook="chainkit_parts", answer={"lens": [schedule("wide")]}), "optics")
    host.add(plugin(hook="chainkit_parts", answer={"lens": [schedule("narrow")]}), "more-optics")
    host.add(plugin(schedule("mount", config=Mount)), "mounts")
    assert [entry.component.name for entry in host.registry.entries("lens")] == ["narrow", "wide"]
    assert host.registry.kinds()[-2:] == ["observer", "lens"]
    assert host.part("schedule", "mount", lens="wide").config.lens.name == "wide"
    with pytest.raises(RecipeError, match="there is no lens 'wade'; did you mean 'wide'"):
        host.part("schedule", "mount", lens="wade")


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_is_withdrawn_with_one_line_and_recalled(name: str, host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    broken, reason = BROKEN[name]
    record = host.add(broken, "bad", distribution="bad-dist", version="1.2")
    assert record.state == "broken"
    assert record.components == []
    assert reason in str(record.reason)
    [line] = capsys.readouterr().err.splitlines()
    assert line == f"chainkit: warning: plugin bad of bad-dist 1.2 could not be loaded: {record.reason}"
    with pytest.raises(RecipeError, match=r"no schedule 'flat'.*plugin bad of bad-dist 1\.2 could not be loaded: ") as error:
        host.registry.resolve("schedule", "flat")
    assert str(record.reason) in str(error.value)
    assert [entry.component.name for entry in host.registry.entries()] == ["steady"]
    assert host.manager.list_name_plugin() == [("good", host.manager.get_plugin("good"))]


@pytest.mark.parametrize("name", BROKEN)
def test_a_strict_host_fails_on_a_broken_plugin(name: str) -> None:
    broken, reason = BROKEN[name]
    with pytest.raises(PluginError) as error:
        Host(strict=True).add(broken, "bad", distribution="bad-dist", version="1.2")
    assert reason in str(error.value)
    assert "plugin bad of bad-dist 1.2" in str(error.value)


def test_an_interrupt_while_a_plugin_loads_is_no_failure_of_the_plugin(host: Host) -> None:
    with pytest.raises(KeyboardInterrupt):
        host.add(raising(KeyboardInterrupt()), "slow")


def test_a_module_that_serves_two_entry_points_is_loaded_once(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    twin = plugin(schedule("other"))
    host.add(twin, "one")
    assert host.add(twin, "two").reason == "its module is that of plugin one"
    assert host.registry.resolve("schedule", "other")


def test_output_of_a_plugin_never_reaches_standard_output(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    @chainkit.hookimpl
    def chainkit_schedules() -> list[Component]:
        print("hello")
        return []

    host.add(types.SimpleNamespace(chainkit_api=(1, 1), chainkit_schedules=chainkit_schedules), "chatty")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "hello\n")


def test_a_name_of_two_plugins_resolves_only_with_its_plugin(host: Host) -> None:
    host.add(plugin(schedule("steady")), "rival", distribution="rival-dist", version="0.9")
    expected = (
        "schedule 'steady' is registered by plugin good of good-dist 2.0 and plugin rival of rival-dist 0.9; "
        "write 'good:steady' or 'rival:steady'"
    )
    with pytest.raises(RecipeError) as error:
        host.registry.resolve("schedule", "steady")
    assert str(error.value) == expected
    assert host.registry.find("schedule", "rival:steady").plugin.distribution == "rival-dist"
    assert host.registry.find("schedule", "good-dist:steady").plugin.name == "good"


def test_an_unknown_name_suggests_what_was_meant(host: Host) -> None:
    with pytest.raises(RecipeError, match=r"no schedule 'stedy'; did you mean 'steady'\?"):
        host.registry.resolve("schedule", "stedy")
    with pytest.raises(RecipeError, match=r"no prior 'steady'$"):
        host.registry.resolve("prior", "steady")


def test_a_restricted_registry_resolves_only_allowed_plugins(host: Host) -> None:
    host.add(plugin(schedule("steady"), schedule("rising")), "rival", distribution="rival-dist", version="0.9")
    registry = host.registry.restricted(["good"])
    assert registry.find("schedule", "steady").plugin.name == "good"
    with pytest.raises(RecipeError, match=r"'rising' comes from plugin rival of rival-dist 0\.9, which .* does not allow"):
        registry.resolve("schedule", "rising")


def test_an_allow_list_of_unknown_or_broken_plugins_is_refused(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    host.add(raising(ValueError("no luck")), "bad", distribution="bad-dist", version="1.2")
    with pytest.raises(RecipeError) as error:
        host.registry.restricted(["god", "bad"])
    assert error.value.problems[0] == "plugins: there is no plugin 'god'; did you mean 'good'?"
    assert error.value.problems[1].startswith("plugins: plugin bad of bad-dist 1.2 could not be loaded: chainkit_schedules raised")


class Observer:
    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.seen: list[object] = []

    @chainkit.hookimpl
    def chainkit_epoch_end(self, run: object) -> str:
        self.seen.append(run)
        if self.error:
            raise self.error
        return f"saw {run}"


def watching(**observers: object) -> list[tuple[Plugin, object]]:
    return [(Plugin(name=name, id=name, distribution="watch-dist", version="0.1"), observer) for name, observer in observers.items()]


def test_calling_a_hook_gives_every_answer_by_plugin(host: Host) -> None:
    with host.observing(watching(first=Observer(), second=Observer())):
        assert host.call("chainkit_epoch_end", run=7) == {"second": "saw 7", "first": "saw 7"}
    assert host.call("chainkit_epoch_end", run=7) == {}


def test_an_observer_that_raises_is_dropped_and_the_others_go_on(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    bad, good = Observer(ValueError("no room")), Observer()
    with host.observing(watching(bad=bad, fine=good)):
        for epoch in range(3):
            host.call("chainkit_epoch_end", run=epoch)
    assert (bad.seen, good.seen) == ([0], [0, 1, 2])
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("chainkit: warning: plugin bad of watch-dist 0.1: chainkit_epoch_end raised ValueError: no room (test_host.py,")


def test_an_observer_that_raises_fails_a_strict_host() -> None:
    host = Host(strict=True)
    with (
        host.observing(watching(bad=Observer(ValueError("no room")))),
        pytest.raises(PluginError, match=r"plugin bad of watch-dist 0\.1: chainkit_epoch_end raised"),
    ):
        host.call("chainkit_epoch_end", run=0)


def test_an_error_meant_for_the_user_passes_through_a_hook(host: Host) -> None:
    with host.observing(watching(bad=Observer(ChainkitError("disk is full")))), pytest.raises(ChainkitError, match="disk is full"):
        host.call("chainkit_epoch_end", run=0)


def test_an_observer_with_a_misspelt_hook_is_refused(host: Host) -> None:
    observers = watching(watch=plugin(hook="chainkit_epoch_ends"))
    with pytest.raises(PluginError, match="observer watch: there is no hook 'chainkit_epoch_ends'"), host.observing(observers):
        pass
    assert not host.manager.has_plugin("watch")


def test_versions_name_the_distribution_of_every_loaded_plugin(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    host.add(raising(ValueError()), "bad")
    assert host.versions() == {"good": "good-dist 2.0"}


def test_a_part_can_be_chosen_without_a_recipe(toys: Host) -> None:
    part = toys.part("operator", "step", noise=0.5)
    assert (part.config.noise, part.config.network.name, part.config.network.path) == (0.5, "layers", "operator step.network")
    with pytest.raises(RecipeError, match=r"^operator step\.noise: must be above 0, not -1\.0$"):
        toys.part("operator", "step", noise=-1)


def keeping(seen: dict[str, Any], name: str) -> types.SimpleNamespace:
    @chainkit.hookimpl
    def chainkit_checkpoint_load(state: object) -> None:
        seen[name] = state

    return types.SimpleNamespace(chainkit_api=(1, 1), chainkit_checkpoint_load=chainkit_checkpoint_load)


def test_each_plugin_and_observer_is_given_what_it_kept_itself() -> None:
    host, seen = Host(strict=True), {}
    for name in ("one", "two"):
        host.add(keeping(seen, name), name)
    twins = [(Plugin(name=id, id=id), keeping(seen, id)) for id in ("counter (observers.0)", "counter (observers.1)")]
    kept = {"one": {"n": 1}, "counter (observers.1)": {"n": 2}, "gone": {"n": 3}}
    with host.observing(twins):
        host.restore(None, kept)
    assert seen == {"one": {"n": 1}, "two": None, "counter (observers.0)": None, "counter (observers.1)": {"n": 2}}
