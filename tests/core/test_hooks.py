"""Every hook: when it is called, and with what. Each has a test named after it; the documentation says the same."""

from __future__ import annotations

import inspect
import json
import re
import signal
import sys
import types
from pathlib import Path
from typing import Annotated, Any

import attrs
import click
import pytest
import torch

import chainkit
from chainkit import contract, hookspecs
from chainkit.capabilities import Density, RealStates
from chainkit.chain import Samples
from chainkit.cli import main
from chainkit.cli.group import CommandLine
from chainkit.component import Component, Part
from chainkit.errors import Interrupted
from chainkit.network import Network
from chainkit.opening import prepare_run
from chainkit.reporting import Reporter
from chainkit.run import Run
from chainkit.run_directory import RunDirectory
from chainkit.schedule import Schedule
from chainkit.session import Session, new_run
from chainkit.testing import TINY_RECIPE, tiny_data, tiny_host, tiny_run
from chainkit.testing.parts import TinyEstimator, TinyObjective
from chainkit.testing.tiny import TinyGaussian, TinyPrior, TinyProcess

pytestmark = pytest.mark.usefixtures("without_pictures")

ROOT = Path(__file__).parents[2]
LIFECYCLE = [name for name in contract.SPECIFIED if not contract.registers(name) and name != "chainkit_commands"]


# Registration: called once, with nothing, when the plugin is loaded; what it returns is built when a run needs it.


@attrs.frozen(kw_only=True)
class Nothing:
    """Nothing to set."""


PROVIDES = {"chainkit_operators": (Density,), "chainkit_priors": (Density,), "chainkit_datasets": (RealStates,)}


def use(folder: Path, hook: str, build: Any, *overrides: str, more: dict[str, Any] | None = None) -> Run:
    """A tiny run with a component ``mine``, which a plugin registers through a hook; the hook is called once, before anything is built."""
    called: list[str] = []

    def implementation():
        called.append(hook)
        return [Component(name="mine", config=Nothing, build=building, provides=PROVIDES.get(hook, ()))]

    def building(config, context):
        called.append("build")
        return build(config, context)

    plugin = types.SimpleNamespace(chainkit_api=(1, 1), **{hook: chainkit.hookimpl(implementation)}, **(more or {}))
    host = tiny_host(mine=plugin)
    assert called == [hook]
    run = tiny_run(folder, TINY_RECIPE, *overrides, host=host)
    assert called[:2] == [hook, "build"]
    assert called.count(hook) == 1
    return run


class Twice(Network):
    """One number, learned."""

    def __init__(self):
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(2.0))

    def forward(self, state, k, condition=None):
        return (self.factor * state,)

    def bias_heads(self, biases):
        """Has no biases."""


class Holding(TinyGaussian):
    """A tiny operator that passes its state through a part of its own."""

    def __init__(self, steps, part):
        super().__init__(steps)
        self.part = part

    def forward(self, state, k, condition=None):
        return super().forward(self.part(state, k)[0], k, condition)


def holding(kind: str) -> dict[str, Any]:
    """The hook that registers an operator which holds a part of a kind."""
    config = attrs.make_class("Config", {"part": attrs.field(type=Annotated[Part, kind])}, frozen=True, kw_only=True)

    def build(settings, context):
        return Holding(context.steps, context.build(settings.part))

    return {"chainkit_operators": chainkit.hookimpl(lambda: [Component(name="holder", config=config, build=build, provides=(Density,))])}


class Rising(Schedule):
    def values(self, steps):
        return 1.0 + torch.arange(steps, dtype=torch.float64)


def test_chainkit_operators(tmp_path):
    run = use(tmp_path, "chainkit_operators", lambda config, context: TinyGaussian(context.steps), "chain.operator.type=mine:mine")
    assert run.chain.operator.slope.shape == (3,)


def test_chainkit_networks(tmp_path):
    override = "chain.operator={type='holder', part={type='mine'}}"
    run = use(tmp_path, "chainkit_networks", lambda config, context: Twice(), override, more=holding("network"))
    assert isinstance(run.chain.operator.part, Twice)


def test_chainkit_processes(tmp_path):
    run = use(tmp_path, "chainkit_processes", lambda config, context: TinyProcess(), "process.type=mine:mine")
    assert isinstance(run.process, TinyProcess)


def test_chainkit_objectives(tmp_path):
    run = use(tmp_path, "chainkit_objectives", lambda config, context: TinyObjective(), "objective.type=mine:mine")
    assert isinstance(run.model.objective, TinyObjective)


def test_chainkit_schedules(tmp_path):
    run = use(tmp_path, "chainkit_schedules", lambda config, context: Rising(), "chain.temperature=mine")
    assert run.chain.temperatures() == [1.0, 2.0, 3.0]


def test_chainkit_priors(tmp_path):
    run = use(tmp_path, "chainkit_priors", lambda config, context: TinyPrior(context.data.shape), "chain.prior.type=mine:mine")
    assert isinstance(run.chain.prior, TinyPrior)


def test_chainkit_datasets(tmp_path):
    run = use(tmp_path, "chainkit_datasets", lambda config, context: tiny_data((3,)), "data.type=mine:mine")
    assert run.data.shape == (3,)


def test_chainkit_estimators(tmp_path):
    estimator = "evaluate.estimators=[{type='mine'}]"
    run = use(tmp_path, "chainkit_estimators", lambda config, context: TinyEstimator(walks=7), estimator)
    [figure] = json.loads((run.path / "evaluation.json").read_text())
    assert figure["walks"] == 7


def test_chainkit_optimizers(tmp_path):
    def build(config, context):
        return lambda parameters: torch.optim.SGD(parameters, lr=0.5)

    run = use(tmp_path, "chainkit_optimizers", build, "train.optimizer.type=mine:mine")
    assert run.trainer.optimisers.rate() == 0.5


def test_chainkit_decays(tmp_path):
    run = use(tmp_path, "chainkit_decays", lambda config, context: lambda update, updates: 0.25, "train.decay=mine")
    assert run.trainer.optimisers.rate() == 0.25 * 0.01


def test_chainkit_observers(tmp_path):
    diary = Diary()
    run = use(tmp_path, "chainkit_observers", lambda config, context: diary, "observers=[{type='mine'}]")
    assert {call.arguments["run"] for call in diary.calls} == {run}
    assert (diary.names[0], diary.names[-1]) == ("chainkit_run_start", "chainkit_run_end")
    assert json.loads((run.path / "final" / "state.json").read_text())["plugins"].keys() == {"mine (observers.0)"}


def test_chainkit_parts(tmp_path):
    doublers = [Component(name="mine", config=Nothing, build=lambda config, context: Twice())]
    plugin = types.SimpleNamespace(
        chainkit_api=(1, 1), chainkit_parts=chainkit.hookimpl(lambda: {"doubler": doublers}), **holding("doubler")
    )
    override = "chain.operator={type='holder', part={type='mine'}}"
    run = tiny_run(tmp_path, TINY_RECIPE, override, host=tiny_host(mine=plugin))
    assert isinstance(run.chain.operator.part, Twice)


def test_chainkit_recipes(tmp_path, capsys, monkeypatch):
    (tmp_path / "tiny_shipped.toml").write_text(TINY_RECIPE)
    host = tiny_host(mine=types.SimpleNamespace(chainkit_api=(1, 1), chainkit_recipes=chainkit.hookimpl(lambda: [tmp_path])))
    monkeypatch.setattr("chainkit.cli.group.load_plugins", lambda **_: host)
    assert main(["check", "tiny_shipped"]) == 0
    assert main(["recipes", "ls"]) == 0
    assert "tiny_shipped" in capsys.readouterr().out


def test_chainkit_views(tmp_path, monkeypatch):
    def updates(run, times=1):
        """Updates, several times over."""
        return times * run.update

    monkeypatch.setitem(sys.modules, "my_views", types.SimpleNamespace(updates=updates))
    views = types.SimpleNamespace(chainkit_api=(1, 1), chainkit_views=chainkit.hookimpl(lambda: {"updates": "my_views:updates"}))
    run = tiny_run(tmp_path, TINY_RECIPE, host=tiny_host(mine=views))
    assert run.show.updates(3) == 3 * run.update > 0
    assert "updates" in dir(run.show)
    [line] = [line for line in repr(run.show).splitlines() if line.startswith("  updates")]
    assert line.split() == ["updates(times)", "Updates,", "several", "times", "over."]
    with pytest.raises(AttributeError, match=r"nothing shows 'update' of a run; did you mean 'updates'"):
        run.show.update()


def test_chainkit_commands(capsys, monkeypatch):
    given = []

    @chainkit.hookimpl
    def chainkit_commands(group):
        given.append(group)
        group.add_command(click.Command("hello", callback=lambda: click.echo("good day")))

    host = tiny_host(mine=types.SimpleNamespace(chainkit_api=(1, 1), chainkit_commands=chainkit_commands))
    assert given == []
    monkeypatch.setattr("chainkit.cli.group.load_plugins", lambda **_: host)
    assert main(["hello"]) == 0
    assert capsys.readouterr().out == "good day\n"
    assert [type(group) for group in given] == [CommandLine]


# Lifecycle: called while a run trains.


@attrs.frozen
class Call:
    """One call of a hook: its name, its arguments, and where the run stood."""

    name: str
    arguments: dict[str, Any]
    update: int
    epoch: int
    finished: bool


class Diary:
    """Implements every lifecycle hook and writes down each call."""

    chainkit_api = (1, 1)

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def note(self, name: str, *, run: Run, **arguments: Any) -> None:
        self.calls.append(Call(name, {"run": run, **arguments}, run.update, run.epoch, run.finished))

    @chainkit.hookimpl
    def chainkit_checkpoint_save(self, run):
        self.note("chainkit_checkpoint_save", run=run)
        return {"calls": len(self.calls)}

    @chainkit.hookimpl
    def chainkit_run_start(self, run):
        self.note("chainkit_run_start", run=run)

    @chainkit.hookimpl
    def chainkit_step_end(self, run, metrics):
        self.note("chainkit_step_end", run=run, metrics=metrics)

    @chainkit.hookimpl
    def chainkit_epoch_end(self, run):
        self.note("chainkit_epoch_end", run=run)

    @chainkit.hookimpl
    def chainkit_samples(self, run, samples):
        self.note("chainkit_samples", run=run, samples=samples)

    @chainkit.hookimpl
    def chainkit_estimates(self, run, estimates):
        self.note("chainkit_estimates", run=run, estimates=estimates)

    @chainkit.hookimpl
    def chainkit_checkpoint_load(self, run, state):
        self.note("chainkit_checkpoint_load", run=run, state=state)

    @chainkit.hookimpl
    def chainkit_run_error(self, run, error):
        self.note("chainkit_run_error", run=run, error=error)

    @chainkit.hookimpl
    def chainkit_run_end(self, run):
        self.note("chainkit_run_end", run=run)

    @property
    def names(self) -> list[str]:
        return [call.name for call in self.calls]

    def of(self, name: str) -> list[Call]:
        return [call for call in self.calls if call.name == name]


class Stopping(Reporter):
    """Quiet; interrupts a run after an update, as a signal does."""

    def __init__(self, stop: int | None = None) -> None:
        self.stop = stop

    def say(self, line):
        """Says nothing."""

    def progress(self, done, total, words):
        if done == self.stop:
            raise Interrupted(signal.SIGTERM)


@attrs.frozen(kw_only=True)
class Story:
    """A run of two epochs of three updates; the same run, stopped after the fourth update; and that one, resumed."""

    whole: Diary
    stopped: Diary
    resumed: Diary
    path: Path


@pytest.fixture(scope="module")
def story(tmp_path_factory) -> Story:
    text = TINY_RECIPE.replace("max_updates = 2", "epochs = 2").replace("n = 6", "n = 6, every = 1")
    diaries = {}
    for name, stop in (("whole", None), ("stopped", 4)):
        folder, diary = tmp_path_factory.mktemp(name), Diary()
        (folder / "recipe.toml").write_text(text)
        run = new_run(folder / "recipe.toml", folder / "run", tiny_host(diary=diary), reporter=Stopping(stop))
        if stop is None:
            Session(run).complete()
        else:
            with pytest.raises(Interrupted):
                Session(run).complete()
        diaries[name] = diary
    resumed = Diary()
    Session(prepare_run(RunDirectory(folder / "run"), tiny_host(diary=resumed), Stopping())).complete()
    return Story(resumed=resumed, path=folder / "run", **diaries)


def test_chainkit_run_start(story):
    assert story.whole.names[0] == "chainkit_run_start"
    assert story.resumed.names[:2] == ["chainkit_checkpoint_load", "chainkit_run_start"]
    for diary, update in ((story.whole, 0), (story.resumed, 4)):
        [call] = diary.of("chainkit_run_start")
        assert (call.update, call.finished) == (update, False)
        assert isinstance(call.arguments["run"], Run)


def test_chainkit_step_end(story):
    [call] = story.whole.of("chainkit_step_end")
    assert call.arguments["metrics"].keys() == {"loss", "update", "epoch", "rate"}
    assert call.update == 6
    logged = [json.loads(line) for line in (call.arguments["run"].path / "metrics.jsonl").read_text().splitlines()]
    assert logged == [call.arguments["metrics"]]


def test_chainkit_epoch_end(story):
    assert [(call.update, call.epoch) for call in story.whole.of("chainkit_epoch_end")] == [(3, 1), (6, 2)]
    assert [call.epoch for call in story.resumed.of("chainkit_epoch_end")] == [2]
    after = [story.whole.names[index + 1] for index, name in enumerate(story.whole.names) if name == "chainkit_epoch_end"]
    assert after == ["chainkit_checkpoint_save"] * 2


def test_chainkit_samples(story, capsys, monkeypatch):
    calls = story.whole.of("chainkit_samples")
    assert [(call.epoch, call.finished) for call in calls] == [(1, False), (2, False), (2, True)]
    for call in calls:
        samples = call.arguments["samples"]
        assert isinstance(samples, Samples)
        assert [state.shape for state in samples.path] == [(6, 2)] * (samples.steps + 1)
        assert torch.equal(samples.path[-1], samples.state)
    diary = Diary()
    monkeypatch.setattr("chainkit.cli.group.load_plugins", lambda **_: tiny_host(diary=diary))
    assert main(["sample", str(story.path), "-n", "2"]) == 0
    assert diary.names == ["chainkit_samples"]
    assert len(diary.calls[0].arguments["samples"].state) == 2


def test_chainkit_estimates(story):
    assert story.whole.names[-2:] == ["chainkit_estimates", "chainkit_run_end"]
    [call] = story.whole.of("chainkit_estimates")
    [figure] = call.arguments["estimates"]
    [written] = json.loads((call.arguments["run"].path / "evaluation.json").read_text())
    assert (figure.name, figure.value) == (written["name"], written["value"])


def test_chainkit_checkpoint_save(story):
    assert [call.update for call in story.whole.of("chainkit_checkpoint_save")] == [3, 6, 6]
    assert [call.update for call in story.stopped.of("chainkit_checkpoint_save")] == [3, 4]
    kept = json.loads((story.path / "checkpoints" / "00000006" / "state.json").read_text())["plugins"]
    assert kept == {"diary": {"calls": story.resumed.names.index("chainkit_checkpoint_save") + 1}}


def test_chainkit_checkpoint_load(story):
    assert "chainkit_checkpoint_load" not in story.whole.names + story.stopped.names
    [call] = story.resumed.of("chainkit_checkpoint_load")
    last = len(story.stopped.names) - story.stopped.names[::-1].index("chainkit_checkpoint_save")
    assert call.arguments["state"] == {"calls": last}
    assert (call.update, call.finished) == (4, False)


def test_chainkit_run_error(story):
    assert "chainkit_run_error" not in story.whole.names + story.resumed.names
    assert story.stopped.names[-1] == "chainkit_run_error"
    assert isinstance(story.stopped.calls[-1].arguments["error"], Interrupted)


def test_chainkit_run_end(story):
    assert story.whole.names[-1] == story.resumed.names[-1] == "chainkit_run_end"
    assert "chainkit_run_end" not in story.stopped.names
    call = story.whole.calls[-1]
    assert (call.update, call.finished) == (6, True)
    assert (call.arguments["run"].path / "evaluation.json").is_file()


# All of them, in the code and on the page.


def phases() -> dict[str, list[str]]:
    """The hooks by phase, as the comments of the specifications divide them."""
    _, *parts = re.split(r"^# (\w+): ", inspect.getsource(hookspecs), flags=re.MULTILINE)
    return {
        name.lower(): re.findall(r"^def (chainkit_\w+)", text, re.MULTILINE) for name, text in zip(parts[::2], parts[1::2], strict=True)
    }


def diagram() -> dict[str, str]:
    """The diagram of the page, by phase."""
    _, _, section = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8").partition("\n## Hooks by phase\n")
    drawn = "\n".join(line for line in section.partition("\n## ")[0].splitlines() if line.startswith("    "))
    _, *parts = re.split(r"(registration|lifecycle):", drawn)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def drawn_hooks(text: str) -> list[tuple[str, list[str]]]:
    """Hooks with their arguments, in the order of a drawing, each once."""
    found = re.findall(r"(chainkit_\w+)\((.*?)\)", text)
    return list({name: (name, re.findall(r"\w+", arguments)) for name, arguments in found}.values())


def test_every_hook_has_a_test_of_its_name():
    tests = {name.removeprefix("test_") for name in globals() if name.startswith("test_chainkit_")}
    assert tests == set(contract.SPECIFIED)


def test_the_phases_of_the_specifications_are_those_of_the_loader():
    assert phases()["registration"] == [name for name in contract.SPECIFIED if contract.registers(name)] + ["chainkit_commands"]
    assert phases()["lifecycle"] == LIFECYCLE


def test_the_page_draws_every_hook_in_its_phase_with_its_arguments():
    for phase, names in phases().items():
        drawn = drawn_hooks(diagram()[phase])
        assert dict(drawn) == {name: list(inspect.signature(getattr(hookspecs, name)).parameters) for name in names}


def test_the_page_draws_a_run_in_the_order_of_a_run(story):
    drawn = [name for name, _ in drawn_hooks(diagram()["lifecycle"])]
    seen = [*story.resumed.names[:1], *dict.fromkeys(story.whole.names), *story.stopped.names[-1:]]
    first_samples = story.whole.names.index("chainkit_samples")
    assert story.whole.names[first_samples + 1] == "chainkit_epoch_end"
    assert [name for name in drawn if name != "chainkit_step_end"] == [name for name in seen if name != "chainkit_step_end"]
