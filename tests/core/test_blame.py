"""A component that breaks the promise of its kind is named, with its plugin and the place: nobody else is blamed."""

from __future__ import annotations

import re
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import chainkit
from chainkit.capabilities import BinaryStates, Labelled
from chainkit.cli import main
from chainkit.component import HOOKS, INTERFACES, Component, Context
from chainkit.errors import PluginError, RecipeError, WrongPart
from chainkit.host import Host
from chainkit.objective import Objective
from chainkit.session import Session, new_run
from chainkit.testing import TINY_RECIPE, TinyParts, tiny_data
from chainkit.testing.parts import Plain, TinyEstimator
from chainkit.testing.run import Quiet
from chainkit.testing.tiny import TinyGaussian

WHO = "component bad of plugin bad of bad-dist 1.0"


def host(kind: str, build: Callable[..., Any] | str, **more: Any) -> Host:
    """The tiny parts, and a plugin with one component ``bad``."""
    component = Component(name="bad", config=Plain, build=build, **more)
    plugin = types.SimpleNamespace(chainkit_api=(1, 1), **{HOOKS[kind]: chainkit.hookimpl(lambda: [component])})
    made = Host(strict=True)
    made.add(TinyParts(), "tiny", distribution="tests")
    made.add(plugin, "bad", distribution="bad-dist", version="1.0")
    return made


def complete(folder: Path, host: Host, *overrides: str) -> None:
    (folder / "recipe.toml").write_text(TINY_RECIPE)
    Session(new_run(folder / "recipe.toml", folder / "run", host, overrides=overrides, reporter=Quiet())).complete()


@pytest.mark.parametrize("kind", INTERFACES)
@pytest.mark.parametrize(("built", "seen"), [(None, "a NoneType"), (3, "an int")])
def test_what_is_built_is_what_the_kind_promises(kind: str, built: object, seen: str) -> None:
    part = host(kind, lambda config, context: built).part(kind, "bad")
    wanted = INTERFACES[kind].partition(":")[2]
    with pytest.raises(WrongPart, match=f"^{WHO} built {seen}, not an? {wanted}$"):
        Context().build(part)


def test_observers_have_a_hook_of_a_run(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"^observer bad \(observers\.0\): it has no hook that a run calls$"):
        complete(tmp_path, host("observer", lambda config, context: None), 'observers=["bad"]')


class Mute(TinyGaussian):
    def forward(self, state, k, condition=None):
        return super().forward(state, k, condition).mean


class Careless(Objective):
    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def losses(self, chain, process, batch, *, source=None):
        return self.answer


class Silent(TinyEstimator):
    def estimate(self, chain, process, examples):
        return None


@pytest.mark.parametrize(
    ("kind", "build", "override", "said"),
    [
        ("operator", lambda *_: Mute(), "chain.operator=bad", f"chain.operator: {WHO} gave a Tensor, not a Kernel"),
        ("objective", lambda *_: Careless([1.0]), "objective=bad", f"objective: {WHO} yielded a float, not a Loss"),
        ("objective", lambda *_: Careless(None), "objective=bad", f"objective: {WHO} gave as losses a NoneType, not an Iterable"),
        ("optimizer", lambda *_: len, "train.optimizer=bad", f"train.optimizer: {WHO} made an int, not an Optimizer"),
        ("estimator", lambda *_: Silent(), 'evaluate.estimators=["bad"]', f"evaluate.estimators.0: {WHO} gave a NoneType, not an Estimate"),
        ("estimator", lambda *_: Silent(), "validate.estimator=bad", f"validate.estimator: {WHO} gave a NoneType, not an Estimate"),
    ],
)
def test_what_a_part_gives_is_what_its_kind_promises(kind, build, override, said, tmp_path):
    states = {"provides": TinyParts().chainkit_operators()[0].provides} if kind == "operator" else {}
    with pytest.raises(WrongPart, match=f"^{re.escape(said)}$"):
        complete(tmp_path, host(kind, build, **states), override, "train.epochs=1", "train.max_updates=3")


@pytest.mark.parametrize(("stated", "seen"), [(BinaryStates, "RealStates, KnownLaw"), (Labelled, "RealStates, KnownLaw")])
def test_a_dataset_has_the_capabilities_that_its_component_states(stated: type, seen: str, tmp_path: Path) -> None:
    bad = host("dataset", lambda *_: tiny_data(), provides=(stated,))
    with pytest.raises(WrongPart, match=f"^data: {WHO} states {stated.__name__}, and the data that it built is {seen}$"):
        complete(tmp_path, bad, "data=bad")
    assert not (tmp_path / "run").exists()


def absent(config: object, context: object) -> None:
    import surely_absent  # noqa: F401


def leaving(config: object, context: object) -> None:
    raise SystemExit(7)


def misspelt(config: object, context: Any) -> None:
    context.date


def confused(config: object, context: Any) -> int:
    return 1 + "1"  # type: ignore[operator]


@pytest.mark.parametrize(
    ("build", "error", "said"),
    [
        (
            absent,
            PluginError,
            rf"{WHO} cannot be built \(ModuleNotFoundError: No module named 'surely_absent' \(test_blame\.py, line \d+\)\)",
        ),
        (leaving, PluginError, rf"{WHO} cannot be built \(SystemExit: 7 \(test_blame\.py, line \d+\)\)"),
        (misspelt, PluginError, rf"{WHO} cannot be built \(AttributeError: .*'date' \(test_blame\.py, line \d+\)\)"),
        (confused, RecipeError, rf"unsupported operand .* \({WHO}, test_blame\.py, line \d+\)"),
    ],
)
def test_a_component_whose_code_fails_is_named_with_the_place(build, error, said, tmp_path):
    with pytest.raises(error, match=f"^chain.prior: {said}$"):
        complete(tmp_path, host("prior", build), "chain.prior=bad")
    assert not (tmp_path / "run").exists()


def test_the_place_is_in_the_plugin_where_a_library_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bad_prior.py").write_text("import json\n\ndef build(config, context):\n    return json.dumps({}, cls=3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    made = host("prior", "bad_prior:build")
    made.plugins[-1].module = "bad_prior.hooks"
    with pytest.raises(RecipeError, match=rf"^chain.prior: .* \({WHO}, bad_prior\.py, line 4\)$"):
        complete(tmp_path, made, "chain.prior=bad")


def test_a_component_that_exits_ends_the_command_with_the_code_of_plugins(tmp_path, monkeypatch, capsys):
    (tmp_path / "recipe.toml").write_text(TINY_RECIPE)
    monkeypatch.setattr("chainkit.cli.group.load_plugins", lambda **_: host("prior", leaving))
    code = main(["run", str(tmp_path / "recipe.toml"), "--out", str(tmp_path / "run"), "--set", "chain.prior=bad"])
    assert code == 3
    assert f"chain.prior: {WHO} cannot be built (SystemExit: 7" in capsys.readouterr().err
