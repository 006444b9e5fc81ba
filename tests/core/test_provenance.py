"""A run goes on with the plugins that it was made with, whatever has been installed, updated or removed since."""

from __future__ import annotations

import json
import types
from pathlib import Path

import pytest

import chainkit
from chainkit.component import Component
from chainkit.errors import CheckpointError, RecipeError
from chainkit.host import Host
from chainkit.opening import open_run, prepare_run
from chainkit.plugin import Plugin
from chainkit.provenance import changed_versions
from chainkit.recipe import find_recipe, read_recipe
from chainkit.run import Run
from chainkit.session import new_run
from chainkit.testing import TINY_RECIPE, TinyParts
from chainkit.testing.parts import DescentConfig
from chainkit.testing.run import Quiet, tiny_run


def hijack() -> types.SimpleNamespace:
    """A plugin whose optimiser has a name that is taken."""

    def chainkit_optimizers() -> list[Component]:
        return [Component(name="tiny", config=DescentConfig, build="nowhere:build")]

    return types.SimpleNamespace(chainkit_api=(1, 1), chainkit_optimizers=chainkit.hookimpl(chainkit_optimizers))


def host(tiny: str = "tiny-dist 1.0", *, hijacked: bool = False, recipes: Path | None = None) -> Host:
    """The tiny parts, of a distribution, and what clashes with them; none of the parts where it is empty."""
    made = Host()
    distribution, _, version = tiny.partition(" ")
    if hijacked:
        made.add(hijack(), "hijack", distribution="hijack-dist", version="3.0")
    if tiny:
        made.add(TinyParts(), "tiny", distribution=distribution, version=version)
    if recipes is not None:
        shipping = types.SimpleNamespace(chainkit_api=(1, 1), chainkit_recipes=chainkit.hookimpl(lambda: [recipes]))
        made.add(shipping, "shipping", distribution=distribution, version=version)
    return made


@pytest.fixture
def made(tmp_path: Path) -> Run:
    return tiny_run(tmp_path, host=host())


def optimizer(run: Run) -> tuple[str, str | None]:
    """The distribution of a run's optimiser, and how its recipe names the plugin."""
    part = run.recipe.train.optimizer
    assert part.provider is not None
    return part.provider.distribution, part.plugin


def test_a_run_keeps_its_plugins_when_others_take_their_names(made: Run) -> None:
    assert optimizer(made) == ("tiny-dist", None)
    assert optimizer(open_run(made.path, host=host(hijacked=True), reporter=Quiet())) == ("tiny-dist", "tiny")


def test_a_plugin_of_the_run_that_takes_a_name_in_a_newer_version_changes_nothing(made: Run) -> None:
    file = made.path / "environment.json"
    environment = json.loads(file.read_text())
    file.write_text(json.dumps(environment | {"plugins": {"hijack": "hijack-dist 2.0", **environment["plugins"]}}))
    assert optimizer(open_run(made.path, host=host(hijacked=True), reporter=Quiet())) == ("tiny-dist", "tiny")


def test_a_plugin_of_the_same_name_is_told_by_its_distribution(made: Run) -> None:
    theirs = Host()
    for plugin, distribution in ((hijack(), "hijack-dist"), (TinyParts(), "tiny-dist")):
        record = Plugin(name="tiny", id=f"tiny@{distribution}", distribution=distribution, version="1.0")
        theirs.load(record, lambda plugin=plugin: plugin)
    assert optimizer(open_run(made.path, host=theirs, reporter=Quiet())) == ("tiny-dist", "tiny@tiny-dist")


def test_a_shipped_recipe_means_components_of_its_own_distribution(tmp_path: Path) -> None:
    folder = tmp_path / "recipes"
    folder.mkdir()
    (folder / "small.toml").write_text(TINY_RECIPE)
    clashing = host(hijacked=True, recipes=folder)
    run = new_run(find_recipe("small", clashing), tmp_path / "run", clashing, reporter=Quiet())
    assert optimizer(run) == ("tiny-dist", "tiny")
    assert 'type = "tiny:tiny"' in run.directory.resolved.read_text()
    assert optimizer(prepare_run(run.directory, clashing, Quiet())) == ("tiny-dist", "tiny")


def test_a_user_is_asked_which_one_is_meant(tmp_path: Path) -> None:
    (tmp_path / "shipped").mkdir()
    (tmp_path / "mine.toml").write_text(TINY_RECIPE)
    with pytest.raises(
        RecipeError, match=r"train\.optimizer\.type: optimizer 'tiny' is registered by .*; write 'hijack:tiny' or 'tiny:tiny'$"
    ):
        read_recipe(tmp_path / "mine.toml", host(hijacked=True, recipes=tmp_path / "shipped").registry)


def test_another_version_of_a_plugin_is_said_in_one_line(made: Run) -> None:
    said = Quiet()
    run = open_run(made.path, host=host("tiny-dist 1.1", hijacked=True), reporter=said)
    assert said.lines == [changed := "plugin tiny of tiny-dist: the run was made with version 1.0, and this is 1.1"]
    assert run.evaluate()[0].warnings == (changed,)
    assert json.loads(run.directory.evaluation.read_text())[0]["warnings"] == [changed]
    said = Quiet()
    open_run(made.path, host=host(hijacked=True), reporter=said)
    assert said.lines == []


def test_plugins_of_one_distribution_share_the_line() -> None:
    plugins = [Plugin(name=name, id=name, distribution="dist", version="2") for name in "abc"]
    lines = changed_versions({"a": "dist 1", "b": "dist 1", "c": "dist 2"}, plugins)
    assert lines == ["plugins a, b of dist: the run was made with version 1, and this is 2"]


def test_a_run_whose_plugin_is_gone_names_it(made: Run) -> None:
    gone = "the run was made with plugin tiny of tiny-dist 1.0, which is not installed"
    with pytest.raises(RecipeError, match=rf"^data\.type: there is no dataset 'tiny'; {gone}\n"):
        open_run(made.path, host=host(""), reporter=Quiet())


def test_an_unknown_recipe_recalls_the_plugins_that_are_missing() -> None:
    broken = Host()
    broken.add(types.SimpleNamespace(), "shipping", distribution="ship-dist", version="1.0")
    with pytest.raises(
        RecipeError, match=r"^small: no such file.*; plugin shipping of ship-dist 1\.0 could not be loaded: it does not state"
    ):
        find_recipe("small", broken)


@pytest.mark.parametrize("text", ["[", "[]", '{"plugins": 3}'])
def test_a_damaged_record_is_named(text: str, made: Run) -> None:
    (made.path / "environment.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"environment\.json: damaged"):
        open_run(made.path, host=host(), reporter=Quiet())


def test_a_run_without_a_record_is_opened_with_what_there_is(made: Run) -> None:
    (made.path / "environment.json").unlink()
    assert open_run(made.path, host=host("tiny-dist 1.1"), reporter=Quiet()).finished
