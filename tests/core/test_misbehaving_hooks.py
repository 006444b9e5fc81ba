"""Plugins that misbehave while a run trains: it ends well without them, or, strictly, fails and stays resumable."""

from __future__ import annotations

import random
import signal
import sys
import types
from pathlib import Path

import attrs
import numpy
import pytest
import torch

import chainkit
from chainkit import contract
from chainkit.component import Component
from chainkit.errors import ChainkitError, Interrupted, PluginError
from chainkit.opening import prepare_run
from chainkit.reporting import Reporter
from chainkit.run_directory import RunDirectory
from chainkit.saving import save_checkpoint
from chainkit.session import Session, new_run
from chainkit.testing import TINY_RECIPE, tiny_host
from chainkit.testing.tiny import TinyPrior

pytestmark = pytest.mark.usefixtures("without_pictures")

LIFECYCLE = [name for name in contract.SPECIFIED if not contract.registers(name) and name != "chainkit_commands"]
LONGER = TINY_RECIPE.replace("max_updates = 2", "max_updates = 4")


class Stopping(Reporter):
    """Quiet; interrupts a run after an update, as a signal does."""

    def __init__(self, stop: int | None = None) -> None:
        self.stop, self.lines = stop, []

    def say(self, line):
        self.lines.append(line)

    def progress(self, done, total, words):
        if done == self.stop:
            raise Interrupted(signal.SIGTERM)


def doing(name: str, action) -> types.SimpleNamespace:
    """A plugin whose implementation of a hook takes no argument and calls ``action``."""
    return types.SimpleNamespace(chainkit_api=(1, 1), **{name: chainkit.hookimpl(lambda: action())})


def raising(error: BaseException):
    def action():
        raise error

    return action


def started(folder: Path, host, stop: int | None = None, text: str = LONGER):
    """A new run, not trained yet."""
    folder.mkdir(exist_ok=True)
    (folder / "recipe.toml").write_text(text)
    return new_run(folder / "recipe.toml", folder / "run", host, reporter=Stopping(stop))


def resumed(folder: Path, host):
    """The same run in what could be another process."""
    return prepare_run(RunDirectory(folder / "run"), host, Stopping())


def lenient(**plugins):
    """A host that warns of what goes wrong from now on."""
    host = tiny_host(**plugins)
    host.strict = False
    return host


def weights(folder: Path) -> bytes:
    return (folder / "run" / "final" / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> bytes:
    """The weights of the run that nothing interrupts."""
    folder = tmp_path_factory.mktemp("undisturbed")
    Session(started(folder, tiny_host())).complete()
    return weights(folder)


@pytest.mark.parametrize("error", [ValueError("no luck"), SystemExit(5)], ids=["raises", "exits"])
@pytest.mark.parametrize("name", LIFECYCLE)
def test_a_run_ends_well_without_a_plugin_that_raises(name, error, tmp_path, capsys, undisturbed):
    bad = doing(name, raising(error))
    with pytest.raises(Interrupted):
        Session(started(tmp_path, lenient(bad=bad), stop=2)).complete()
    figures = Session(resumed(tmp_path, lenient(bad=bad))).complete()
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("chainkit: warning:")]
    said = f"chainkit: warning: plugin bad of tests: {name} raised {type(error).__name__}: {error} ("
    twice = ("chainkit_run_start", "chainkit_checkpoint_save")  # once before the interrupt, once after it
    assert len(warnings) == 1 + (name in twice)
    assert all(line.startswith(said) and line.endswith("its hooks are not called any more") for line in warnings)
    assert len(figures) == 1
    assert weights(tmp_path) == undisturbed


@pytest.mark.parametrize("name", [name for name in LIFECYCLE if name != "chainkit_run_error"])
def test_strictly_a_run_fails_on_a_plugin_that_raises_and_can_be_resumed(name, tmp_path, undisturbed):
    bad = doing(name, raising(ValueError("no luck")))
    said = rf"^plugin bad of tests: {name} raised ValueError: no luck \(test_misbehaving_hooks\.py, line \d+\)$"
    if name == "chainkit_checkpoint_load":
        with pytest.raises(Interrupted):
            Session(started(tmp_path, tiny_host(), stop=2)).complete()
        failing = resumed(tmp_path, tiny_host(bad=bad))
    else:
        failing = started(tmp_path, tiny_host(bad=bad))
    with pytest.raises(PluginError, match=said):
        Session(failing).complete()
    Session(resumed(tmp_path, tiny_host())).complete()
    assert weights(tmp_path) == undisturbed


@pytest.mark.parametrize("error", [ValueError("no luck"), ChainkitError("no room")])
def test_what_is_raised_while_a_run_stops_does_not_hide_why(error, tmp_path):
    run = started(tmp_path, tiny_host(bad=doing("chainkit_run_error", raising(error))), stop=2)
    with pytest.raises(Interrupted):
        Session(run).complete()
    assert [line for line in run.reporter.lines if line.startswith("while the run stopped: ") and str(error) in line]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({1, 2}, "returned a set, not a table of JSON data"),
        (["a"], "returned a list, not a table of JSON data"),
        ({"a": torch.zeros(1)}, "returned what is no JSON data: Object of type Tensor is not JSON serializable"),
        ({1: 2}, "returned what JSON gives back changed: keys that are no strings, or tuples"),
    ],
)
def test_what_cannot_be_kept_in_a_checkpoint_is_not(answer, said, tmp_path, capsys, undisturbed):
    Session(started(tmp_path, lenient(bad=doing("chainkit_checkpoint_save", lambda: answer)))).complete()
    [line] = capsys.readouterr().err.splitlines()
    assert line == f"chainkit: warning: plugin bad of tests: chainkit_checkpoint_save {said}; its hooks are not called any more"
    assert weights(tmp_path) == undisturbed


def test_a_plugin_that_fails_in_a_hook_that_its_hook_led_to_is_dropped_once(tmp_path, capsys):
    class Nested:
        chainkit_api = (1, 1)

        @chainkit.hookimpl
        def chainkit_run_start(self, run):
            save_checkpoint(run)
            raise ValueError("outer")

        @chainkit.hookimpl
        def chainkit_checkpoint_save(self, run):
            raise ValueError("inner")

    Session(started(tmp_path, lenient(bad=Nested()))).complete()
    assert [("inner" in line, "outer" in line) for line in capsys.readouterr().err.splitlines()] == [(True, False), (False, True)]


# What a plugin does to the state of the process.

SHUFFLED = """
import random, numpy, torch
random.seed(5); numpy.random.seed(5); torch.manual_seed(5); torch.rand(7)

from chainkit.testing.tiny import TinyPrior

def build(config, context):
    return TinyPrior(context.data.shape)
"""
INITIALISED = LONGER.replace(
    'prior = { type = "tiny" }, operator = { type = "tiny" }',
    'prior = { type = "meddling" }, operator = { type = "walkback-gaussian", sigma0 = 0.1, network = { type = "mlp", hidden = [5] } }',
)


@attrs.frozen(kw_only=True)
class Nothing:
    """Nothing to set."""


class Meddling:
    """A plugin with a prior, and hooks that draw from all that is global."""

    chainkit_api = (1, 1)

    def __init__(self, build):
        self.build = build

    @chainkit.hookimpl
    def chainkit_priors(self):
        return [Component(name="meddling", config=Nothing, build=self.build)]

    @chainkit.hookimpl
    def chainkit_step_end(self, run, metrics):
        torch.manual_seed(len(metrics))
        torch.rand(3), random.random(), numpy.random.rand()


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Puts a module on the path that only a build refers to."""

    def write(source: str) -> str:
        (tmp_path / "late_module.py").write_text(source)
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, "late_module", raising=False)
        return "late_module:build"

    return write


def test_a_plugin_that_seeds_and_draws_from_global_generators_changes_no_run(tmp_path, module):
    late = module(SHUFFLED)
    runs = [("first", late), ("again", late), ("plain", lambda config, context: TinyPrior(context.data.shape))]
    with torch.random.fork_rng():
        for name, build in runs:
            Session(started(tmp_path / name, tiny_host(bad=Meddling(build)), text=INITIALISED)).complete()
    assert len({weights(tmp_path / name) for name, _ in runs}) == 1


def test_a_plugin_that_changes_the_default_type_is_found_before_it_changes_a_run(tmp_path, module):
    late = module("import torch\ntorch.set_default_dtype(torch.float64)\n" + SHUFFLED)
    try:
        with pytest.raises(PluginError, match=r"torch's default dtype is torch\.float64, which a plugin has changed"):
            started(tmp_path, tiny_host(bad=Meddling(late)), text=INITIALISED)
    finally:
        torch.set_default_dtype(torch.float32)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (
            "import surely_absent",
            r"ModuleNotFoundError: No module named 'surely_absent' \(late_module\.py, line 1\)",
        ),
        (
            "",
            r"AttributeError: module 'late_module' has no attribute 'build'",
        ),
    ],
)
def test_a_component_that_cannot_be_imported_leaves_no_run_behind(source, said, tmp_path, module):
    with pytest.raises(PluginError, match=rf"^chain\.prior: component meddling of plugin bad of tests cannot be built \({said}\)$"):
        started(tmp_path, tiny_host(bad=Meddling(module(source))), text=INITIALISED)
    assert not (tmp_path / "run").exists()
