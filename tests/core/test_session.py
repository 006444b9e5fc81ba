"""A run from its start to its end: stopped anywhere and resumed, it is the run that was never stopped."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from pathlib import Path
from threading import Barrier

import attrs
import numpy as np
import pytest
import torch

import chainkit
from chainkit import cli, session
from chainkit.bundle import read_bundle
from chainkit.cli import group, main
from chainkit.component import Component
from chainkit.errors import CheckpointError, DataError, Interrupted, RecipeError, RunBusyError
from chainkit.host import load_plugins
from chainkit.interrupt import Signalled, ending_on_signals, handling_signals, poll
from chainkit.opening import prepare_run
from chainkit.optimisation import Optimisers
from chainkit.reporting import Reporter
from chainkit.run_directory import RunDirectory, fresh_path
from chainkit.session import Session, new_run
from chainkit.testing import TINY_RECIPE, TinyParts
from chainkit.testing.parts import TinyEstimator

COMMON = """
device = "cpu"
[train]
epochs = 3
batch_size = 50
optimizer = { type = "adam", lr = 0.01 }
decay = { type = "cosine" }
ema = 0.9
statistics_examples = 40
[validate]
estimator = { type = "lower-bound", walks = 1 }
also = [{ type = "stoppable" }]
examples = 5
[sample]
n = 4
every = 2
[evaluate]
examples = 6
estimators = [{ type = "lower-bound", walks = 2 }]
"""
METHODS = {
    "heated": """
[data]
type = "grid-3x3"
n = 200
[chain]
steps = 3
temperature = { type = "geometric", ratio = 1.5 }
prior = { type = "gaussian" }
operator = { type = "walkback-gaussian", sigma0 = 0.1, network = { type = "mlp", hidden = [5], norm = "shared" } }
[process]
type = "heated"
[objective]
type = "walkback"
""",
    "infusion": """
[data]
type = "digits"
scale = 17
dequantize = true
valid = 700
test = 897
[chain]
steps = 3
prior = { type = "gaussian" }
operator = { type = "infusion-gaussian", network = { type = "mlp", hidden = [5], norm = "per-step" } }
[process]
type = "infusion"
rate = { type = "increasing", omega = 0.1 }
[objective]
type = "denoising"
""",
    "diffusion": """
[data]
type = "swiss-roll"
n = 200
[chain]
steps = 3
prior = { type = "gaussian", fit = false }
operator = { type = "diffusion-gaussian", network = { type = "mlp", hidden = [5], step = "embedding" } }
[process]
type = "diffusion-gaussian"
schedule = { type = "variance-learned", initial = { type = "variance-cosine" } }
[objective]
type = "diffusion-bound"
steps = "one"
""",
    "persistent": """
[data]
type = "heartbeat"
n = 200
[chain]
steps = 3
temperature = { type = "annealed" }
prior = { type = "bernoulli" }
operator = { type = "block-gibbs", energy = { type = "rbm", hidden = 5 } }
[process]
type = "heated"
[objective]
type = "persistent-divergence"
chains = 10
restart = 0.2
""",
}
METHODS = {name: COMMON + text for name, text in METHODS.items()}
UPDATES = 12


@attrs.frozen(kw_only=True)
class Stoppable:
    """The tiny bound."""


class Meddler:
    """A plugin with an estimator that a test may stop on its way, and with a memory of its own."""

    chainkit_api = (1, 1)

    def __init__(self, stop_at: int | None = None) -> None:
        self.validations, self.stop_at = 0, stop_at
        self.memory: list[int] = []

    @chainkit.hookimpl
    def chainkit_estimators(self):
        meddler = self

        class Stopping(TinyEstimator):
            def estimate(self, chain, process, examples):
                meddler.validations += 1
                if meddler.validations == meddler.stop_at:
                    os.kill(os.getpid(), signal.SIGINT)
                    poll()
                return super().estimate(chain, process, examples)

        return [Component(name="stoppable", config=Stoppable, build=lambda config, context: Stopping(walks=1))]

    @chainkit.hookimpl
    def chainkit_epoch_end(self, run):
        self.memory.append(run.epoch)

    @chainkit.hookimpl
    def chainkit_checkpoint_save(self, run):
        return {"epochs": list(self.memory)}

    @chainkit.hookimpl
    def chainkit_checkpoint_load(self, run, state):
        self.memory = list(state["epochs"])


class Killed(BaseException):
    """The process is gone: nothing is saved any more."""


class Watcher(Reporter):
    """Keeps what is said; stops after an update by a signal, or as a killed process does."""

    def __init__(self, stop_after: int | None = None, *, kill: bool = False) -> None:
        self.stop_after, self.kill = stop_after, kill
        self.lines: list[str] = []
        self.updates: list[int] = []

    def say(self, line):
        self.lines.append(line)

    def progress(self, done, total, words):
        self.updates.append(done)
        if done == self.stop_after:
            if self.kill:
                raise Killed
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(autouse=True)
def frequent_metrics(monkeypatch):
    monkeypatch.setattr(session, "LOG_EVERY", 2)


@pytest.fixture
def begin(tmp_path):
    """Makes a run of a recipe text, and starts it."""

    def start(text, *overrides, name="run", reporter=None, **plugins):
        recipe = tmp_path / "recipe.toml"
        recipe.write_text(text)
        host = plugins_with(**plugins)
        run = new_run(recipe, tmp_path / name, host, overrides=overrides, reporter=reporter or Watcher())
        with handling_signals():
            Session(run).complete()
        return run

    return start


def plugins_with(meddler=None, *, figures=False, **plugins):
    """All plugins, those of a test too; without pictures, which take most of the time of such small runs."""
    host = load_plugins(disabled=() if figures else ("figures",), strict=True)
    for name, plugin in {"tiny": TinyParts(), "meddler": meddler or Meddler(), **plugins}.items():
        host.add(plugin, name)
    return host


def again(path, *, reporter=None, **plugins):
    """Takes up a run in what could be another process: everything is built anew."""
    host = plugins_with(**plugins)
    run = prepare_run(RunDirectory(path), host, reporter or Watcher())
    with handling_signals():
        Session(run).complete()
    return run


def left_by(path: Path) -> dict[str, bytes]:
    """All that training leaves: the last checkpoint with weights, average and optimiser, final weights, metrics, figures."""
    last = max((path / "checkpoints").iterdir())
    files = [*last.iterdir(), *(path / "final").iterdir(), path / "metrics.jsonl", path / "evaluation.json"]
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What every method leaves when nothing stops it."""
    found = {}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(session, "LOG_EVERY", 2)
        for method, text in METHODS.items():
            folder = tmp_path_factory.mktemp(method)
            (folder / "recipe.toml").write_text(text)
            reporter = Watcher()
            run = new_run(folder / "recipe.toml", folder / "run", plugins_with(), reporter=reporter)
            Session(run).complete()
            # Every set has 200 training examples: three epochs of four batches.
            assert reporter.updates == list(range(1, UPDATES + 1))
            found[method] = left_by(run.path)
    return found


def test_all_that_training_leaves_is_compared(whole):
    for left in whole.values():
        assert {Path(name).name for name in left} >= {"average.safetensors", "optimizer.safetensors", "model.safetensors", "metrics.jsonl"}
        lines = [json.loads(line) for line in left["metrics.jsonl"].decode().splitlines()]
        watched = ("valid lower bound", "valid lower bound (standard error)", "valid tiny bound", "valid tiny bound (standard error)")
        assert [tuple(name for name in line if name.startswith("valid ")) for line in lines if "loss" not in line] == [watched] * 3
        assert len(lines) == 6 + 3


@pytest.mark.parametrize("method", METHODS)
def test_a_run_interrupted_after_every_single_update_ends_the_same(method, whole, begin, tmp_path):
    """Update 4, 8 and 12 are the last of an epoch: the signal comes before validation and checkpoint."""
    with pytest.raises(Interrupted):
        begin(METHODS[method], reporter=Watcher(1))
    for update in range(2, UPDATES + 1):
        with pytest.raises(Interrupted):
            again(tmp_path / "run", reporter=Watcher(update))
    last = Watcher()
    again(tmp_path / "run", reporter=last)
    assert last.updates == []
    assert left_by(tmp_path / "run") == whole[method]


@pytest.mark.parametrize("update", [1, 6, 8, 11])
@pytest.mark.parametrize("method", METHODS)
def test_a_run_killed_between_checkpoints_ends_the_same(method, update, whole, begin, tmp_path):
    with pytest.raises(Killed):
        begin(METHODS[method], reporter=Watcher(update, kill=True))
    resumed = Watcher()
    again(tmp_path / "run", reporter=resumed)
    assert resumed.updates[0] == (update - 1) // 4 * 4 + 1  # from the end of the last epoch that ended
    assert left_by(tmp_path / "run") == whole[method]


@pytest.mark.parametrize("validation", [1, 2, 3])
@pytest.mark.parametrize("method", METHODS)
def test_a_run_interrupted_while_it_validates_ends_the_same(method, validation, whole, begin, tmp_path):
    with pytest.raises(Interrupted):
        begin(METHODS[method], meddler=Meddler(validation))
    resumed = Watcher()
    again(tmp_path / "run", reporter=resumed)
    assert resumed.updates == list(range(4 * validation + 1, UPDATES + 1))
    assert left_by(tmp_path / "run") == whole[method]


@pytest.mark.parametrize(
    "settings", [["train.update=step", "objective.type=walkback"], ["train.accumulate=2"], ["train.precision=bfloat16"]]
)
def test_other_ways_to_train_resume_exactly_too(settings, begin, tmp_path):
    text = METHODS["heated"]
    expected = left_by(begin(text, *settings, name="whole").path)
    with pytest.raises(Interrupted):
        begin(text, *settings, reporter=Watcher(3))
    again(tmp_path / "run")
    assert left_by(tmp_path / "run") == expected


def test_resuming_a_trained_run_trains_nothing_and_makes_what_is_missing(begin):
    text = METHODS["infusion"]
    run = begin(text)
    expected = left_by(run.path)
    (run.path / "evaluation.json").unlink()
    reporter = Watcher()
    resumed = again(run.path, reporter=reporter, figures=True)
    assert reporter.updates == []
    assert "is trained" in reporter.lines[0]
    assert left_by(run.path) == expected
    assert (run.path / "pictures" / "samples.png").exists()
    assert (resumed.update, resumed.weights) == (run.update, run.weights)
    assert torch.equal(resumed.sample(3).state, run.sample(3).state)


def test_a_run_interrupted_while_it_is_evaluated_is_only_evaluated(begin, tmp_path):
    settings = ["evaluate.estimators=[{ type = 'lower-bound' }, { type = 'stoppable' }]"]
    expected = left_by(begin(METHODS["diffusion"], *settings, name="whole").path)
    with pytest.raises(Interrupted):
        begin(METHODS["diffusion"], *settings, meddler=Meddler(4))
    assert len(json.loads((tmp_path / "run" / "evaluation.json").read_text())) == 1
    reporter = Watcher()
    again(tmp_path / "run", reporter=reporter)
    assert reporter.updates == []
    assert left_by(tmp_path / "run") == expected


def test_damaged_final_weights_are_made_again_from_the_checkpoint(begin):
    run = begin(METHODS["infusion"])
    expected = left_by(run.path)
    (run.path / "final" / "model.safetensors").write_bytes(b"")
    reporter = Watcher()
    again(run.path, reporter=reporter)
    assert "final/model.safetensors: damaged" in reporter.lines[0]
    assert reporter.updates == []
    assert left_by(run.path) == expected


def test_damaged_final_weights_without_a_checkpoint_are_no_fresh_start(begin):
    run = begin(METHODS["infusion"])
    shutil.rmtree(run.path / "checkpoints")
    (run.path / "final" / "model.safetensors").write_bytes(b"")
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    with pytest.raises(CheckpointError, match=r"damaged.*move .*/final away to train anew"):
        again(run.path)
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before


def test_a_run_without_a_checkpoint_starts_anew_and_keeps_no_stale_metrics(begin, tmp_path):
    with pytest.raises(Killed):
        begin(METHODS["diffusion"], reporter=Watcher(3, kill=True))
    assert (tmp_path / "run" / "metrics.jsonl").read_text().count("\n") == 1
    again(tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert sum(line["update"] == 2 for line in lines) == 1


@pytest.mark.parametrize("ended", [False, True])
def test_other_training_data_than_before_is_noticed(ended, begin, tmp_path):
    values = torch.rand(400, 2, generator=torch.Generator().manual_seed(0)).numpy()
    np.save(tmp_path / "points.npy", values)
    data = f'data={{type="arrays",path="{tmp_path / "points.npy"}",valid=0.2,test=0.2}}'
    stopped = nullcontext() if ended else pytest.raises(Interrupted)
    with stopped:
        begin(METHODS["infusion"], data, reporter=Watcher(None if ended else 5))
    reporter = Watcher()
    if ended:
        again(tmp_path / "run", reporter=reporter)
    assert not any("other training data" in line for line in reporter.lines)
    np.save(tmp_path / "points.npy", values**2)
    if ended:
        again(tmp_path / "run", reporter=reporter)
        assert any("points holds other training data than the run was trained on" in line for line in reporter.lines)
    else:
        with pytest.raises(DataError, match="points holds other training data than up to update 5: put that back"):
            again(tmp_path / "run")
        np.save(tmp_path / "points.npy", values)
        again(tmp_path / "run")


# Validation, early stopping, averages


class Scripted:
    """An estimator that gives figures from a list, in turn."""

    chainkit_api = (1, 1)

    def __init__(self, *values, **fields):
        self.values = list(values)
        self.fields = fields

    @chainkit.hookimpl
    def chainkit_estimators(self):
        values, fields = self.values, self.fields

        class Script(TinyEstimator):
            def estimate(self, chain, process, examples):
                estimate = super().estimate(chain, process, examples)
                return attrs.evolve(estimate, value=values.pop(0), name="scripted", **fields)

        return [Component(name="scripted", config=Stoppable, build=lambda config, context: Script(walks=1))]


WATCHED = (
    TINY_RECIPE.replace("max_updates = 2", "epochs = 9, patience = 2, checkpoints = 1")
    + """
[validate]
estimator = { type = "scripted" }
also = []
"""
)


def tensors(folder):
    return read_bundle(folder)[0]


def test_training_stops_early_and_reports_the_best_validation(begin):
    reporter = Watcher()
    run = begin(WATCHED, reporter=reporter, script=Scripted(-3.0, -1.0, -2.0, -1.0))
    assert (run.finished, run.epoch, run.update) == (True, 2, 6)  # of 4 epochs of 3 updates
    assert reporter.updates == list(range(1, 13))
    assert run.weights == "weights of update 6 (best validation)"
    assert sorted(path.name for path in (run.path / "checkpoints").iterdir()) == ["00000006", "00000012"]
    best, last, final = (tensors(run.path / folder)["model"] for folder in ("checkpoints/00000006", "checkpoints/00000012", "final"))
    assert all(torch.equal(final[name], best[name]) for name in best)
    assert any(not torch.equal(final[name], last[name]) for name in last)
    said = [line for line in reporter.lines if line.startswith("epoch")]
    assert [line.endswith("(best so far)") for line in said] == [True, True, False, False]
    assert "scripted on 48 valid examples -1.00 nats" in said[1]


def test_a_figure_of_which_lower_is_better_keeps_the_lowest(begin):
    reporter = Watcher()
    run = begin(WATCHED, reporter=reporter, script=Scripted(3.0, 1.0, 2.0, 1.0, lower_is_better=True, likelihood=False))
    assert (run.finished, run.weights) == (True, "weights of update 6 (best validation)")
    assert reporter.updates == list(range(1, 13))
    said = [line for line in reporter.lines if line.startswith("epoch")]
    assert [line.endswith("(best so far)") for line in said] == [True, True, False, False]
    assert "scripted on 48 valid examples 1.00 nats" in said[1]


def test_the_first_of_the_figures_that_are_watched_decides_alone(begin):
    reporter = Watcher()
    text = WATCHED.replace("also = []", 'also = [{ type = "tiny" }]')
    run = begin(text, reporter=reporter, script=Scripted(-3.0, -1.0, -2.0, -1.0))
    assert run.weights == "weights of update 6 (best validation)"
    said = [line.partition(" on ")[0] + line[-14:] * line.endswith("(best so far)") for line in reporter.lines if line.startswith("epoch")]
    assert said == [
        *["epoch 1: scripted (best so far)", "epoch 1: tiny bound", "epoch 2: scripted (best so far)", "epoch 2: tiny bound"],
        *["epoch 3: scripted", "epoch 3: tiny bound", "epoch 4: scripted", "epoch 4: tiny bound"],
    ]


def test_a_stopped_run_stays_stopped(begin):
    run = begin(WATCHED, script=Scripted(-1.0, -2.0, -2.0))
    for file in (run.path / "final").iterdir():
        file.unlink()
    (run.path / "final").rmdir()
    reporter = Watcher()
    resumed = again(run.path, reporter=reporter, script=Scripted())
    assert reporter.updates == []
    assert resumed.weights == "weights of update 3 (best validation)"


def test_a_damaged_best_checkpoint_is_named_and_the_last_weights_are_reported(begin):
    class Damager(Scripted):
        @chainkit.hookimpl
        def chainkit_epoch_end(self, run):
            if run.epoch == 3:
                (run.path / "checkpoints" / "00000003" / "state.json").write_text("{}")

    reporter = Watcher()
    run = begin(WATCHED, reporter=reporter, script=Damager(-1.0, -2.0, -2.0))
    assert run.weights == "weights of update 9"
    assert any("00000003/state.json: damaged" in line for line in reporter.lines)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), ValueError("of another optimiser")])
def test_a_best_checkpoint_that_cannot_be_restored_is_not_reported(error, begin, tmp_path, monkeypatch):
    """Want of memory stops the run; what does not fit leaves the last weights, whole and named so."""

    def failing(self, tensors, numbers):
        raise error

    monkeypatch.setattr(Optimisers, "restore", failing)
    if isinstance(error, torch.OutOfMemoryError):
        with pytest.raises(torch.OutOfMemoryError):
            begin(WATCHED, script=Scripted(-1.0, -2.0, -2.0))
        assert not (tmp_path / "run" / "final").exists()
        monkeypatch.undo()
        assert again(tmp_path / "run", script=Scripted()).weights == "weights of update 3 (best validation)"
        return
    run = begin(WATCHED, script=Scripted(-1.0, -2.0, -2.0))
    assert run.weights == "weights of update 9"
    last, final = (tensors(run.path / folder)["model"] for folder in ("checkpoints/00000009", "final"))
    assert all(torch.equal(final[name], last[name]) for name in last)


def test_averaged_weights_are_validated_sampled_and_reported(begin):
    run = begin(METHODS["infusion"])
    assert run.weights.startswith("averaged (EMA) weights of update ")
    groups = tensors(run.path / "checkpoints" / f"{run.update:08d}")
    final = tensors(run.path / "final")["model"]
    weight = next(name for name in final if name.endswith("weight"))
    assert torch.equal(final[weight], groups["average"][f"module.{weight}"])
    assert not torch.equal(final[weight], groups["model"][weight])


def test_as_many_checkpoints_are_kept_as_the_recipe_says(begin):
    for kept in (1, 2, 4, 5):
        run = begin(TINY_RECIPE.replace("max_updates = 2", "epochs = 6"), f"train.checkpoints={kept}", name=f"kept-{kept}")
        found = sorted(int(path.name) for path in (run.path / "checkpoints").iterdir())
        assert found == [3 * epoch for epoch in range(7 - kept, 7)]


# Hooks


class Diary:
    """Writes down the hooks that are called."""

    def __init__(self) -> None:
        self.entries: list[str] = []

    @chainkit.hookimpl
    def chainkit_run_start(self, run):
        self.entries.append(f"start at {run.update}")

    @chainkit.hookimpl
    def chainkit_step_end(self, run, metrics):
        self.entries.append(f"step {metrics['update']}" + (" validated" if "valid scripted" in metrics else ""))

    @chainkit.hookimpl
    def chainkit_epoch_end(self, run):
        self.entries.append(f"epoch {run.epoch}")

    @chainkit.hookimpl
    def chainkit_samples(self, run, samples):
        assert len(samples.path) == samples.steps + 1
        self.entries.append("samples" + (" at the end" if run.finished else ""))

    @chainkit.hookimpl
    def chainkit_checkpoint_save(self, run):
        self.entries.append(f"save {run.update}")
        return {"entries": len(self.entries)}

    @chainkit.hookimpl
    def chainkit_checkpoint_load(self, run, state):
        self.entries.append(f"load {state['entries']}")

    @chainkit.hookimpl
    def chainkit_run_error(self, run, error):
        self.entries.append(type(error).__name__)

    @chainkit.hookimpl
    def chainkit_run_end(self, run):
        self.entries.append("end")


class Diaries:
    """The plugin that provides the observer ``diary``."""

    chainkit_api = (1, 1)

    def __init__(self) -> None:
        self.diary = Diary()

    @chainkit.hookimpl
    def chainkit_observers(self):
        return [Component(name="diary", config=Stoppable, build=lambda config, context: self.diary)]


OBSERVED = (
    TINY_RECIPE.replace("max_updates = 2", "epochs = 2").replace("n = 6", "n = 6, every = 1").replace('device = "cpu"', "")
    + """
[validate]
estimator = { type = "scripted" }
[[observers]]
type = "diary"
"""
)


def test_observers_are_called_in_the_order_of_a_run(begin):
    diaries = Diaries()
    begin(OBSERVED, diaries=diaries, script=Scripted(-2.0, -1.0))
    assert diaries.diary.entries == [
        "start at 0",
        *("step 2", "step 3 validated", "samples", "epoch 1", "save 3"),
        *("step 4", "step 6", "step 6 validated", "samples", "epoch 2", "save 6"),
        *("save 6", "samples at the end", "end"),
    ]


def test_an_observer_gets_back_what_it_saved(begin, tmp_path):
    first, second, third = Diaries(), Diaries(), Diaries()
    with pytest.raises(Interrupted):
        begin(OBSERVED, diaries=first, script=Scripted(-2.0, -1.0), reporter=Watcher(4))
    assert first.diary.entries[-3:] == ["step 4", "save 4", "Interrupted"]
    again(tmp_path / "run", diaries=second, script=Scripted(-1.0))
    assert second.diary.entries[:2] == [f"load {len(first.diary.entries) - 1}", "start at 4"]
    again(tmp_path / "run", diaries=third, script=Scripted())
    assert third.diary.entries == [f"load {second.diary.entries.index('samples at the end')}", "start at 6", "samples at the end", "end"]


def test_a_plugin_gets_back_what_it_saved(begin, tmp_path):
    text = METHODS["diffusion"]
    with pytest.raises(Interrupted):
        begin(text, reporter=Watcher(9))
    meddler = Meddler()
    again(tmp_path / "run", meddler=meddler)
    assert meddler.memory == [1, 2, 3]


# Starting from another run


def test_training_starts_from_the_weights_that_another_run_reports(begin, tmp_path):
    first = begin(METHODS["heated"], name="first")
    watcher = Watcher()
    second = begin(METHODS["heated"], "train.epochs=0", f'train.start="{tmp_path / "first"}"', name="second", reporter=watcher)
    assert f"starting from the {first.weights} of {tmp_path / 'first'}" in watcher.lines
    operator = second.chain.operator.state_dict()
    for name, tensor in first.chain.operator.state_dict().items():
        if "running" not in name and "tracked" not in name:  # statistics are those of walks of this run
            assert torch.equal(operator[name], tensor)


def test_a_run_that_started_from_another_is_resumed_without_it(begin, tmp_path):
    begin(METHODS["heated"], name="first")
    start = f'train.start="{tmp_path / "first"}"'
    whole = begin(METHODS["heated"], start, name="whole")
    with pytest.raises(Interrupted):
        begin(METHODS["heated"], start, name="stopped", reporter=Watcher(3))
    (tmp_path / "first").rename(tmp_path / "elsewhere")
    again(tmp_path / "stopped")
    assert left_by(tmp_path / "stopped") == left_by(whole.path)


def test_weights_of_another_model_or_of_no_run_are_refused(begin, tmp_path):
    begin(METHODS["infusion"], name="first")
    with pytest.raises(CheckpointError, match="does not fit the recipe"):
        begin(METHODS["heated"], f'train.start="{tmp_path / "first"}"', name="second")
    assert not (tmp_path / "second").exists()
    with pytest.raises(CheckpointError, match="nothing: not a run directory"):
        begin(METHODS["heated"], f'train.start="{tmp_path / "nothing"}"', name="third")
    assert not (tmp_path / "third").exists()


# Opening a run


def test_an_opened_run_gives_chain_process_data_samples_and_figures(begin):
    run = begin(METHODS["heated"])
    opened = chainkit.open_run(run.path, host=plugins_with())
    assert isinstance(opened.chain, chainkit.Chain)
    assert isinstance(opened.process, chainkit.ForwardProcess)
    assert len(opened.data("test")) == 1000
    assert opened.weights == run.weights
    assert torch.equal(opened.sample(5, seed=3).state, run.sample(5, seed=3).state)
    assert not torch.equal(opened.sample(5, seed=3).state, opened.sample(5, seed=4).state)
    assert opened.sample(5).state.shape == (5, 2)
    weights = chainkit.log_weights(opened.chain, opened.process, opened.data("test"), 1)
    assert weights.shape == (1000, 1)


def test_evaluating_twice_with_one_seed_gives_one_figure_and_other_seeds_agree_within_the_error(begin):
    run = begin(METHODS["heated"])
    opened = chainkit.open_run(run.path, host=plugins_with())
    part = opened.host.part("estimator", "lower-bound", walks=4)
    first, same, other = (opened.evaluate([part], examples=300, seed=seed)[0] for seed in (1, 1, 2))
    assert first == same
    assert first.value != other.value
    assert abs(first.value - other.value) < 4 * (first.error**2 + other.error**2) ** 0.5
    records = json.loads((run.path / "evaluation.json").read_text())
    assert [(record["seed"], record["walks"]) for record in records] == [(0, 2), (1, 4), (2, 4)]  # the same figure stands there once


def test_a_run_that_is_not_trained_is_not_opened(begin, tmp_path):
    with pytest.raises(Interrupted):
        begin(METHODS["heated"], reporter=Watcher(2))
    with pytest.raises(CheckpointError, match="chainkit resume"):
        chainkit.open_run(tmp_path / "run", host=plugins_with())


# What would fail at the end fails before the start


def test_what_is_not_estimated_needs_no_examples(begin):
    run = begin(METHODS["infusion"], "train.epochs=1", "data.test=0", "evaluate.estimators=[]")
    assert "test" not in run.data.splits
    assert run.finished
    assert not (run.path / "evaluation.json").exists()


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("sample.steps=7", "sample.steps"),
        ("evaluate.estimators.0.walks=0", "evaluate.estimators"),
        ("chain.temperature={ type = 'constant', value = 0.0 }", "chain.temperature: T_1 = 0 is no temperature"),
        ("train.optimizers.critc=tiny", "train.optimizers.critc: tiny has no such set of parameters, only model"),
        ("evaluate.split=valid", "evaluate.split: tiny has no valid split, only train"),
    ],
)
def test_what_would_fail_after_training_fails_before_it(override, said, begin, tmp_path):
    class Single:
        chainkit_api = (1, 1)

        @chainkit.hookimpl
        def chainkit_datasets(self):
            [component] = TinyParts().chainkit_datasets()

            def build(config, context):
                data = component.builder()(config, context)
                del data.splits["valid"], data.splits["test"]
                return data

            return [attrs.evolve(component, name="single", build=build)]

    with pytest.raises(RecipeError, match=said):
        begin(TINY_RECIPE, "data.type=single", override, mine=Single())
    assert not (tmp_path / "run").exists()


# Processes


def test_a_run_that_is_held_by_another_process_is_left_alone(begin):
    run = begin(METHODS["heated"])
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    program = (
        "import sys, time; from pathlib import Path; from chainkit.run_directory import RunDirectory\n"
        "with RunDirectory(Path(sys.argv[1])).locked(): print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen([sys.executable, "-c", program, str(run.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunBusyError, match="in use by another process"):
            again(run.path)
    finally:
        holder.communicate()
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before
    again(run.path)


def test_a_checkpoint_that_made_way_for_one_that_never_came_is_used(whole, begin, tmp_path):
    """As a process leaves it that was killed between the two renames of a checkpoint that was written again."""
    with pytest.raises(Interrupted):
        begin(METHODS["diffusion"], reporter=Watcher(5))
    checkpoints = tmp_path / "run" / "checkpoints"
    (checkpoints / "00000004").rename(checkpoints / ".00000004.tmp")
    (checkpoints / "00000005").rename(checkpoints / ".00000005.old")
    resumed = Watcher()
    again(tmp_path / "run", reporter=resumed)
    assert resumed.updates[0] == 6
    assert left_by(tmp_path / "run") == whole["diffusion"]
    assert not list(checkpoints.glob(".*"))


def test_a_run_that_is_asked_to_stop_in_its_last_save_writes_nothing_after_it(whole, begin, tmp_path):
    class Asking:
        chainkit_api = (1, 1)

        @chainkit.hookimpl
        def chainkit_checkpoint_save(self, run):
            if run.update == UPDATES:
                os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted):
        begin(METHODS["diffusion"], asking=Asking())
    assert (tmp_path / "run" / "checkpoints" / f"{UPDATES:08d}").is_dir()
    assert not (tmp_path / "run" / "final").exists()
    again(tmp_path / "run")
    assert left_by(tmp_path / "run") == whole["diffusion"]


@pytest.mark.parametrize("checkpoint", ["00000004", "00000008"])
def test_a_checkpoint_that_counts_on_lost_metrics_is_passed_over(checkpoint, whole, begin, tmp_path):
    """As a disk leaves them that had not written what it said it had, when power was lost."""
    with pytest.raises(Killed):
        begin(METHODS["diffusion"], reporter=Watcher(10, kill=True))
    run, resumed = tmp_path / "run", Watcher()
    saved = run / "checkpoints" / checkpoint
    os.truncate(run / "metrics.jsonl", read_bundle(saved)[1]["metrics_size"] - 3)
    complaint = f"{saved}: metrics.jsonl has lost 3 bytes that it had by then"
    if checkpoint == "00000004":  # the oldest
        with pytest.raises(CheckpointError, match=complaint):
            again(run)
        return
    again(run, reporter=resumed)
    assert f"skipped a damaged checkpoint: {complaint}" in resumed.lines
    assert resumed.updates[0] == 5
    assert left_by(run) == whole["diffusion"]


@pytest.mark.parametrize("every", [2, 50])  # with 50 the only line comes after the last checkpoint
def test_lines_of_the_metrics_are_on_the_disk_before_weights_that_count_on_them(every, begin, tmp_path, monkeypatch):
    path, synced, at_renames = tmp_path / "run" / "metrics.jsonl", [0], []
    fsync, rename = os.fsync, os.rename

    def noting(descriptor):
        fsync(descriptor)
        if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
            synced[0] = path.stat().st_size

    def publishing(source, target):
        at_renames.append((synced[0], path.stat().st_size if path.exists() else 0))
        rename(source, target)

    monkeypatch.setattr(os, "fsync", noting)
    monkeypatch.setattr(os, "rename", publishing)
    monkeypatch.setattr(session, "LOG_EVERY", every)
    begin(METHODS["diffusion"], "validate.every=5")
    assert len(at_renames) >= 4
    assert all(known == size for known, size in at_renames)
    assert at_renames[-1][0] > 0


def test_a_run_whose_making_was_killed_is_made_anew(whole, begin, tmp_path):
    path = tmp_path / "run"
    path.mkdir()
    for name in ("lock", "recipe.toml", ".environment.json.tmp"):
        (path / name).write_text("half")
    assert left_by(begin(METHODS["diffusion"]).path) == whole["diffusion"]
    assert not list(path.glob(".*"))


@pytest.mark.parametrize("names", [["recipe.toml"], ["lock", "notes"], ["lock", "resolved.toml"]])
def test_a_directory_that_holds_something_else_is_not_touched(names, begin, tmp_path):
    (tmp_path / "run").mkdir()
    for name in names:
        (tmp_path / "run" / name).write_text("mine")
    with pytest.raises(RecipeError, match="exists; continue it"):
        begin(METHODS["diffusion"])
    assert {file.name: file.read_text() for file in (tmp_path / "run").iterdir()} == dict.fromkeys(names, "mine")


def test_a_run_is_made_by_one_process(tmp_path):
    with RunDirectory.making(tmp_path / "run", "", "", {}) as directory:
        before = {file.name for file in directory.path.iterdir()}
        with pytest.raises(RecipeError, match="exists"), RunDirectory.making(directory.path, "", "other", {}):
            pass
        (directory.path / "resolved.toml").unlink()
        with pytest.raises(RunBusyError, match="in use"), RunDirectory.making(directory.path, "", "other", {}):
            pass
        directory.resolved.write_text("")
        assert {file.name for file in directory.path.iterdir()} == before


def test_runs_that_begin_together_get_directories_of_their_own(tmp_path):
    together = Barrier(4)

    def make(number):
        together.wait(timeout=60)
        with RunDirectory.making(fresh_path(tmp_path / "runs", "walk"), str(number), "", {}) as directory:
            return directory.path.name

    with ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(make, range(4))) == ["walk", "walk-2", "walk-3", "walk-4"]


def test_a_run_without_a_directory_gets_the_next_number(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("walk.toml").write_text(METHODS["diffusion"])
    made = [new_run(Path("walk.toml"), None, plugins_with(), reporter=Watcher()) for _ in range(2)]
    assert [str(run.path) for run in made] == ["runs/walk", "runs/walk-2"]


def test_a_lock_that_went_with_its_directory_holds_nothing(begin, monkeypatch):
    run = begin(METHODS["diffusion"])
    flock = fcntl.flock

    def too_late(file, operation):
        (run.path / "lock").unlink()
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", too_late)
    with pytest.raises(RunBusyError), run.directory.locked():
        pass


def test_what_cannot_be_made_leaves_nothing(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"), RunDirectory.making(tmp_path / "run", "", "", {}):
        pass
    assert list(tmp_path.iterdir()) == []


LONG = """
device = "cpu"
data = { type = "swiss-roll", n = 500 }
process = { type = "diffusion-gaussian" }
objective = { type = "diffusion-bound", steps = "one" }
train = { batch_size = 5, epochs = 100000, checkpoint_every = 100000, optimizer = { type = "adam" } }
sample = { n = 3 }
[chain]
steps = 4
prior = { type = "gaussian", fit = false }
operator = { type = "diffusion-gaussian", network = { type = "mlp", hidden = [4] } }
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_process_with_its_code_and_the_run_goes_on_from_there(number, code, tmp_path, capsys):
    recipe, path = tmp_path / "long.toml", tmp_path / "run"
    recipe.write_text(LONG)
    program = "import sys; from chainkit.cli import main; sys.exit(main(sys.argv[1:]))"
    words = [sys.executable, "-c", program, "run", str(recipe), "--out", str(path)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: (path / "metrics.jsonl").exists() or process.poll() is not None)
        process.send_signal(number)
        out, said = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == code, said
    assert out == ""
    assert "Traceback" not in said
    assert said.splitlines()[-2:] == [
        f"continue with `chainkit resume {path}`",
        f"chainkit: error: stopped by {signal.Signals(number).name}",
    ]
    stopped = max(int(saved.name) for saved in (path / "checkpoints").iterdir())
    # Not the rest of the long training, but one update more: the directory's own recipe is shortened.
    resolved = path / "resolved.toml"
    resolved.write_text(resolved.read_text().replace("epochs = 100000", f"epochs = 100000\nmax_updates = {stopped + 1}"))
    assert main(["resume", str(path)]) == 0
    said = capsys.readouterr().err
    assert f"continuing {path} at update {stopped} of {stopped + 1}" in said


@pytest.fixture
def hangups():
    """SIGHUP as a process has it that no nohup has started."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hangups")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_before_the_run_begins_ends_the_process_with_its_code(number, code, monkeypatch, capsys):
    monkeypatch.setattr(group, "load_plugins", lambda **options: os.kill(os.getpid(), number))
    before = signal.getsignal(number)
    assert main(["plugins"]) == code
    assert capsys.readouterr().err.splitlines()[-1] == "chainkit: interrupted"
    assert signal.getsignal(number) is before


@pytest.mark.usefixtures("hangups")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_that_is_lost_before_the_run_begins_stops_it_at_its_first_update(number, code, monkeypatch, tmp_path):
    """As when it comes in a destructor, whose exceptions nobody gets."""

    def interrupted(**options):
        with suppress(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        return load_plugins(**options)

    monkeypatch.setattr(group, "load_plugins", interrupted)
    recipe, path = tmp_path / "long.toml", tmp_path / "run"
    recipe.write_text(LONG)
    assert main(["run", str(recipe), "--out", str(path)]) == code
    assert [saved.name for saved in (path / "checkpoints").iterdir()] == ["00000001"]


def test_a_process_without_standard_streams_works(tmp_path):
    recipe, path = tmp_path / "recipe.toml", tmp_path / "run"
    recipe.write_text(LONG.replace("epochs = 100000", "max_updates = 1"))
    program = f"import sys; from chainkit.cli import main; sys.exit(main(['run', {str(recipe)!r}, '--out', {str(path)!r}]))"
    words = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", program]
    assert subprocess.run(words, check=False).returncode == 0
    assert (path / "final" / "manifest.json").exists()


def test_a_run_whose_terminal_is_lost_stops_with_a_checkpoint(tmp_path):
    recipe, path, (ours, theirs) = tmp_path / "long.toml", tmp_path / "run", pty.openpty()
    recipe.write_text(LONG)
    program = (
        "import fcntl, signal, sys, termios; from chainkit.cli import main\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"  # these tests themselves may run under nohup
        "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    words = [sys.executable, "-c", program, "run", str(recipe), "--out", str(path)]
    process = subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    try:
        wait_for(lambda: (path / "metrics.jsonl").exists() or process.poll() is not None)
        os.close(ours)
        assert process.wait(timeout=120) == 129
    finally:
        process.kill()
    saved = list((path / "checkpoints").iterdir())
    assert len(saved) == 1
    assert read_bundle(saved[0])[1]["progress"]["update"] == int(saved[0].name)


@pytest.mark.usefixtures("hangups")
@pytest.mark.parametrize("first", [signal.SIGHUP, signal.SIGTERM])
def test_a_lost_session_asks_to_stop_and_never_insists(first):
    with handling_signals():
        os.kill(os.getpid(), first)
        os.kill(os.getpid(), signal.SIGHUP)
        with pytest.raises(Interrupted) as caught:
            poll()
    assert caught.value.exit_code == 128 + first
    with ending_on_signals():
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), first)
        os.kill(os.getpid(), signal.SIGHUP)


def test_a_process_under_nohup_outlives_its_session():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ending_on_signals(), handling_signals():
            os.kill(os.getpid(), signal.SIGHUP)
            poll()
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_stops_at_once_and_says_which(number):
    with handling_signals():
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Signalled) as caught:
            os.kill(os.getpid(), number)
    assert caught.value.number == number


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(("words", "code"), [(["components", "process"], 0), (["check", "nothing.toml"], 2)])
def test_a_signal_after_the_end_of_a_command_changes_nothing(words, code, number, monkeypatch, capsys):
    """Whether it comes while the end is told, or while handlers are put back, the one that it meets or another's."""
    assert main(words) == code
    undisturbed = capsys.readouterr()
    before, put_back, report = signal.getsignal(number), signal.signal, cli.report

    def signalled(function):
        def call(*arguments):
            if signal.getsignal(number) is not before:
                os.kill(os.getpid(), number)
            return function(*arguments)

        return call

    def ended(*arguments, **keywords):
        try:
            return group_main(*arguments, **keywords)
        finally:
            monkeypatch.setattr(signal, "signal", signalled(put_back))

    group_main = group.CommandLine.main
    monkeypatch.setattr(group.CommandLine, "main", ended)
    monkeypatch.setattr(cli, "report", signalled(report))
    assert main(words) == code
    assert capsys.readouterr() == undisturbed
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_a_class_is_made_by_exec_ends_the_process_with_its_own_code(number, tmp_path):
    """CPython ends a process by SIGINT once KeyboardInterrupt itself has left such code; torch's import is full of it."""
    (tmp_path / "slow_plugin.py").write_text(f"exec('import os; os.kill(os.getpid(), {int(number)})')")
    (tmp_path / "slow_plugin-1.dist-info").mkdir()
    (tmp_path / "slow_plugin-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: slow-plugin\nVersion: 1\n")
    (tmp_path / "slow_plugin-1.dist-info" / "entry_points.txt").write_text("[chainkit]\nslow = slow_plugin\n")
    paths = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    words = [sys.executable, "-m", "chainkit", "plugins"]
    ended = subprocess.run(words, check=False, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": paths})
    assert ended.returncode == 128 + number
    assert ended.stderr == "chainkit: plugin slow of slow-plugin 1 was being loaded\n\nchainkit: interrupted\n"


def test_a_thread_that_cannot_handle_signals_leaves_them_as_they_are():
    before = signal.getsignal(signal.SIGTERM)

    def handled():
        with ending_on_signals(), handling_signals():
            poll()
            return signal.getsignal(signal.SIGTERM)

    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(handled).result() == before


def wait_for(condition, seconds=300.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.1)
