"""Whatever a user gets wrong, or a disk: one message that says where, the exit code of its kind, nothing lost."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import tomllib
from pathlib import Path

import attrs
import numpy as np
import pytest
import tomli_w

import chainkit
from chainkit import bundle
from chainkit.bundle import read_bundle, verify
from chainkit.cli import main
from chainkit.component import Component
from chainkit.metrics import MetricsLog
from chainkit.run_directory import RunDirectory
from chainkit.surroundings import describe_environment
from chainkit.testing import tiny_host
from chainkit.testing.parts import Plain, TinyEstimator, TinyObjective

RECIPE = """
device = "cpu"
[data]
type = "digits"
valid = 100
test = 1000
[chain]
steps = 3
prior = { type = "gaussian" }
[chain.operator]
type = "infusion-gaussian"
network = { type = "mlp", hidden = [4], norm = "none" }
[process]
type = "infusion"
[objective]
type = "denoising"
[train]
epochs = 2
batch_size = 300
optimizer = { type = "adam", lr = 0.01 }
[sample]
n = 4
[evaluate]
examples = 5
estimators = [{ type = "lower-bound", walks = 2 }]
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]):
    """Runs a command that must fail; gives the one line (or the lines) that say why. Only figures that there are may be shown."""

    def run(code: int, *words: str | Path, lines: int = 1, figures: bool = False) -> str:
        capsys.readouterr()
        found = main([str(word) for word in words])
        captured = capsys.readouterr()
        assert found == code, captured.err
        assert bool(captured.out) is figures
        assert "Traceback" not in captured.err
        said = [line for line in captured.err.splitlines() if line.startswith("chainkit: ")]
        assert len(said) == lines, captured.err
        assert all(line.startswith("chainkit: error: ") for line in said)
        return "\n".join(line.removeprefix("chainkit: error: ") for line in said)

    return run


@pytest.fixture
def works(capsys: pytest.CaptureFixture[str]):
    """Runs a command that must work; gives all that it says on standard error."""

    def run(*words: str | Path) -> str:
        capsys.readouterr()
        code = main([str(word) for word in words])
        said = capsys.readouterr().err
        assert code == 0, said
        return said

    return run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    (folder / "recipe.toml").write_text(RECIPE)
    assert main(["run", str(folder / "recipe.toml"), "--out", str(folder / "run")]) == 0
    return folder / "run"


@pytest.fixture
def ended(trained: Path, tmp_path: Path) -> Path:
    """A run that has ended."""
    return shutil.copytree(trained, tmp_path / "ended")


@pytest.fixture
def unfinished(ended: Path) -> Path:
    """A run with two checkpoints whose last words were never said: it was killed at the end of its training."""
    shutil.rmtree(ended / "final")
    (ended / "evaluation.json").unlink()
    return ended


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "lock"}


# Recipes


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[data\n", "recipe.toml, line 1"),
        ("seed = 1\nseed = 2\n", "recipe.toml, line 2"),
        ("\x00", "recipe.toml"),
    ],
)
def test_wrong_toml_is_named_with_its_line(text, said, recipe, tmp_path, fails):
    recipe.write_text(text)
    assert said in fails(2, "run", recipe, "--out", tmp_path / "run")


def test_a_file_that_is_no_text_is_named(recipe, fails):
    recipe.write_bytes(b"\xff\xfe\x00")
    assert str(recipe) in fails(2, "run", recipe)


BAD = {
    "an unknown key": (["train.epoch=3"], "train.epoch: is an unknown key; did you mean 'epochs'?"),
    "an unknown table": (["trainn.epochs=3"], "trainn: is an unknown key; did you mean 'train'?"),
    "a text for a number": (["chain.steps='10'"], "chain.steps: "),
    "a fraction for a whole number": (["chain.steps=1.9"], "chain.steps: "),
    "a number for a truth": (["data.dequantize=1"], "data.dequantize: "),
    "a value for a table": (["chain=3"], "chain: "),
    "an unknown component": (["data.type=digitz"], "did you mean 'digits'"),
    "an unknown nested component": (["chain.operator.network.type=mlq"], "chain.operator.network.type: "),
    "an unknown word": (["train.precision=float31"], "train.precision: "),
    "negative steps": (["chain.steps=-3"], "chain.steps: must be 1 or more, not -3"),
    "a rate of zero": (["train.optimizer.lr=0"], "train.optimizer.lr: "),
    "a decay above one": (["train.ema=1.5"], "train.ema: "),
    "no layers": (["chain.operator.network.hidden=[]"], "chain.operator.network.hidden: "),
    "scales that do not fit": (["data.dequantize=true"], "data.dequantize: needs scale = 17"),
    "a binary operator on real data": (["chain.operator={type='walkback-bernoulli'}", "process.type=heated"], "set data.binarize"),
    "an image network on vectors": (["data.flatten=true", "chain.operator.network={type='conv'}"], "chain.operator.network: conv needs"),
    "steps that the chain refuses": (["sample.steps=5"], "sample.steps: is 5 where the chain has 3"),
    "accumulation with updates per step": (["train.update=step", "train.accumulate=2"], "train.accumulate: "),
    "patience without a figure": (["train.patience=2"], "train.patience: "),
    "an override without a value": (["chain.steps"], "--set chain.steps: is not of the form key=value"),
    "an override that leads nowhere": (["seed.x.y=1"], "seed: must be an integer"),
    "a plugin that is not allowed": (
        ["plugins=['datasets','priors','networks','infusion','estimators']"],
        "train.optimizer.type: optimizer 'adam' comes from plugin optim",
    ),
    "a device of another kind": (["device=cude"], "device: must be auto, cpu, cuda or cuda:N"),
    "a device that is not here": (["device='cuda:99'"], "device: 'cuda:99' cannot be used here"),
    "fewer examples than an estimator needs": (
        ["evaluate.estimators=['prior-gap']", "evaluate.examples=39"],
        "evaluate.estimators.0: 40 examples or more are needed, not 39",
    ),
    "fewer examples than an estimator needs to watch": (
        ["validate={estimator={type='neighbours', k=9}, examples=9}"],
        "validate.estimator: 10 examples or more are needed of the valid split, not 9",
    ),
    "examples that are not there": (
        ["evaluate.split=valid", "data.valid=0"],
        "evaluate.split: digits has no valid split, only train, test",
    ),
}


@pytest.mark.parametrize(("overrides", "said"), BAD.values(), ids=BAD)
def test_a_recipe_that_cannot_work_is_refused_at_its_dotted_key(overrides, said, recipe, tmp_path, fails):
    words = [word for override in overrides for word in ("--set", override)]
    assert said in fails(2, "run", recipe, "--out", tmp_path / "run", *words)
    assert not (tmp_path / "run").exists()


def test_all_problems_are_said_at_once(recipe, tmp_path, fails):
    settings = ["--set", "chain.steps=0", "--set", "seeed=1", "--set", "train.epochs=-1"]
    assert fails(2, "run", recipe, "--out", tmp_path / "run", *settings, lines=3).count("\n") == 2


def test_the_device_of_the_command_line_is_checked_too(recipe, tmp_path, fails):
    assert fails(2, "run", recipe, "--out", tmp_path / "run", "--device", "gpu").startswith("device: must be")


def test_a_recipe_that_is_not_there_is_named(tmp_path, fails):
    assert fails(2, "run", tmp_path / "nowhere.toml").startswith(f"{tmp_path / 'nowhere.toml'}: no such file")
    assert "did you mean 'infusion_digits'" in fails(2, "run", "infusion_digit")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["data={type='arrays',path='nowhere.npy'}"], "data: nowhere.npy"),
        (["data={type='arrays',path='damaged.npy'}"], "data: damaged.npy"),
        (["data={type='image-folder',path='nowhere'}"], "data: nowhere"),
        (["data={type='mnist',root='nowhere',download=false}"], "data: nowhere/MNIST/raw: MNIST is absent or damaged"),
        (["data={type='celeba',root='nowhere'}"], "data: nowhere/celeba: "),
    ],
)
def test_data_that_is_absent_or_damaged_is_named(settings, said, recipe, tmp_path, monkeypatch, fails):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "damaged.npy").write_bytes(b"\x93NUMPY\x01\x00v\x00{'descr'")
    assert fails(4, "run", recipe, "--out", "run", *(word for setting in settings for word in ("--set", setting))).startswith(said)
    assert not (tmp_path / "run").exists()


ESCAPES = "\x1b[31m\x9b2J\u202e\x07"


@pytest.mark.parametrize(
    "words",
    [
        ["check", "RECIPE", "--set", f"title.{ESCAPES}=1"],
        ["check", "RECIPE", "--set", f"data={{type='digits', labels='{ESCAPES[1:4]}\\u001b\u202e'}}"],
        ["check", f"{ESCAPES}.toml"],
        ["check", f"{ESCAPES}\n.toml"],
        [f"{ESCAPES}"],
        ["resume", f"no\udcffwhere{ESCAPES}"],
        ["check", "RECIPE", f"--{ESCAPES}"],
    ],
)
def test_nothing_that_moves_or_colours_a_terminal_is_printed(words, recipe, capsys):
    assert main([str(recipe) if word == "RECIPE" else word for word in words]) in (2, 4)
    captured = capsys.readouterr()
    assert all(letter.isprintable() or letter == "\n" for letter in captured.out + captured.err)
    assert any(escape in captured.err for escape in ("\\x1b", "\\u001b", "\\u202e"))


def test_a_name_over_several_lines_is_one_problem(recipe, fails):
    recipe.write_text(RECIPE + '["a\\nchainkit: done"]\n')
    assert fails(2, "check", recipe).startswith(r"'a\nchainkit: done': is an unknown key")
    assert fails(2, "check", "a\nchainkit: done.toml").startswith(r"a\nchainkit: done.toml: no such file")


# Run directories


def test_a_run_directory_that_exists_is_not_touched(recipe, ended, fails):
    before = contents(ended)
    assert fails(2, "run", recipe, "--out", ended).startswith(f"{ended}: exists; continue it with `chainkit resume {ended}`")
    assert contents(ended) == before


def test_a_file_in_the_place_of_the_run_directory_is_not_touched(recipe, fails):
    assert f"{recipe}: exists" in fails(2, "run", recipe, "--out", recipe)
    assert fails(4, "run", recipe, "--out", recipe / "run") == f"{recipe / 'run'}: Not a directory"
    assert recipe.read_text() == RECIPE


@pytest.mark.parametrize("command", ["resume", "sample", "evaluate"])
def test_what_is_no_run_directory_is_refused(command, tmp_path, fails):
    assert "not a run directory" in fails(4, command, tmp_path)
    assert "not a run directory" in fails(4, command, tmp_path / "nowhere")


@pytest.mark.parametrize("command", ["sample", "evaluate"])
def test_a_run_that_is_not_trained_is_refused(command, unfinished, fails):
    assert fails(4, command, unfinished) == f"{unfinished}: training has not ended; continue it with `chainkit resume {unfinished}`"


def test_a_damaged_resolved_recipe_is_named(ended, fails):
    (ended / "resolved.toml").write_text("[data\n")
    assert f"{ended / 'resolved.toml'}, line 1" in fails(2, "resume", ended)


def test_a_recipe_changed_behind_the_back_of_a_checkpoint_is_refused(unfinished, fails):
    path = unfinished / "resolved.toml"
    path.write_text(path.read_text().replace("hidden = [\n    4,\n]", "hidden = [5]"))
    assert "hidden = [5]" in path.read_text()
    before = contents(unfinished)
    assert "the checkpoint does not fit the recipe: " in fails(4, "resume", unfinished)
    assert contents(unfinished) == before


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


def test_a_damaged_checkpoint_is_named_and_the_previous_one_used(unfinished, works):
    first, second = RunDirectory(unfinished).saved()
    damage(second / "model.safetensors")
    said = works("resume", unfinished)
    assert f"skipped a damaged checkpoint: {second / 'model.safetensors'}: damaged (size or sha256 differs from the manifest)" in said
    assert f"at update {int(first.name)} of" in said
    for path in RunDirectory(unfinished).saved():
        verify(path)


def test_where_all_checkpoints_are_damaged_nothing_starts_anew(unfinished, fails):
    saved = RunDirectory(unfinished).saved()
    for path in saved:
        damage(path / "optimizer.safetensors")
    before = contents(unfinished)
    said = fails(4, "resume", unfinished, lines=len(saved) + 1)
    assert all(f"{path / 'optimizer.safetensors'}: damaged" in said for path in saved)
    assert said.endswith("no checkpoint is sound")
    assert contents(unfinished) == before


@pytest.mark.parametrize("command", ["sample", "evaluate"])
def test_damaged_final_weights_are_named(command, ended, fails):
    damage(ended / "final" / "model.safetensors")
    assert fails(4, command, ended).startswith(f"{ended / 'final' / 'model.safetensors'}: damaged")


@pytest.mark.parametrize("name", ["lock", "metrics.jsonl", "pictures", "checkpoints/00000004", ".evaluation.json.tmp", "recipe.toml"])
@pytest.mark.parametrize("command", ["resume", "sample", "evaluate", "report", "compare"])
def test_nothing_is_read_or_written_through_a_link_in_a_run(name, command, ended, tmp_path, fails):
    (tmp_path / "elsewhere").mkdir()
    if (ended / name).exists():
        (ended / name).rename(tmp_path / "moved")
    (ended / name).symlink_to(tmp_path / "elsewhere")
    assert fails(4, command, ended) == f"{ended / name}: neither a file nor a folder, and nothing else is read or written here; remove it"
    assert list((tmp_path / "elsewhere").iterdir()) == []


FORGED = {
    "a count in words": {"progress": {"update": "4"}},
    "a count below zero": {"progress": {"position": -1}},
    "a count that is no number": {"progress": {"epoch": float("nan")}},
    "a field of its own": {"progress": {"path": "/etc"}},
    "a best checkpoint elsewhere": {"progress": {"best": 1.0, "best_checkpoint": "../../elsewhere"}},
    "metrics of negative size": {"metrics_size": -1},
    "states of plugins in words": {"plugins": "words"},
}


@pytest.mark.parametrize("changes", FORGED.values(), ids=FORGED)
def test_a_forged_state_is_refused(changes, unfinished, fails):
    newest = RunDirectory(unfinished).saved()[-1]
    groups, state = read_bundle(newest)
    changes = {key: {**state[key], **value} if isinstance(value, dict) else value for key, value in changes.items()}
    bundle.write_bundle(newest, groups, {**state, **changes})
    before = contents(unfinished)
    assert fails(4, "resume", unfinished).startswith(f"{newest}: not as a run writes it (")
    assert contents(unfinished) == before


@pytest.mark.parametrize("name", ["state.json", "manifest.json"])
def test_a_state_nested_deeply_is_refused(name, ended, unfinished, fails):
    (RunDirectory(unfinished).saved()[-1] / name).write_text("[" * 100_000)
    for damaged in RunDirectory(unfinished).saved()[:-1]:
        shutil.rmtree(damaged)
    assert name in fails(4, "resume", unfinished, lines=2)


@pytest.mark.parametrize("text", ["[" * 100_000, '["a"]', '{"name": 1}', '[{"name": "x", "value": 1}]', "null"])
def test_figures_that_are_none_are_refused(text, ended, fails):
    (ended / "evaluation.json").write_text(text)
    assert fails(4, "evaluate", ended).startswith(f"{ended / 'evaluation.json'}: damaged (")
    assert (ended / "evaluation.json").read_text() == text


def test_damaged_figures_are_named_and_not_overwritten(ended, fails):
    (ended / "evaluation.json").write_text("[{")
    assert fails(4, "evaluate", ended).startswith(f"{ended / 'evaluation.json'}: damaged")
    assert (ended / "evaluation.json").read_text() == "[{"


def test_a_repository_with_a_program_of_its_own_is_not_asked_to_run_it(tmp_path, monkeypatch):
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    subprocess.run(["git", "-C", str(tmp_path), "config", "core.fsmonitor", f"touch {tmp_path / 'sprung'}; false"], check=True)
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "status"], check=True, capture_output=True)
    assert (tmp_path / "sprung").exists()
    (tmp_path / "sprung").unlink()
    describe_environment({}, {}, [])
    assert not (tmp_path / "sprung").exists()


# Samples and figures


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sample", "--steps", "7"], "--steps: this chain samples with its 3 trained steps, not 7"),
        (["evaluate", "--estimator", "lower-bond"], "did you mean 'lower-bound'"),
        (["sample", "--out", "."], ".: exists"),
        (["sample", "--device", "cuda:99"], "device: 'cuda:99' cannot be used here"),
    ],
)
def test_what_an_ended_run_cannot_do_is_refused(words, said, ended, fails):
    before = contents(ended)
    assert said in fails(2, words[0], ended, *words[1:])
    assert contents(ended) == before


@pytest.mark.parametrize("words", [["sample", "-n", "0"], ["sample", "--steps", "0"], ["evaluate", "--split", "best"], ["evaluate"]])
def test_wrong_usage_leaves_with_2(words, ended, capsys):
    assert main([words[0], *([str(ended), *words[1:]] if words[1:] else [])]) == 2
    assert "Error: " in capsys.readouterr().err


def test_an_ended_run_is_sampled_from_whatever_its_figures_need(ended, works, fails):
    resolved = ended / "resolved.toml"
    recipe = tomllib.loads(resolved.read_text())
    recipe["evaluate"]["estimators"] = [{"type": "prior-gap"}]
    resolved.write_text(tomli_w.dumps(recipe))
    works("sample", ended, "-n", "3")
    assert fails(2, "evaluate", ended) == "evaluate.estimators.0: 40 examples or more are needed, not 5"


def test_samples_are_written_to_a_new_file(ended, tmp_path, works, fails):
    out = tmp_path / "samples.npy"
    works("sample", ended, "-n", "3", "--out", out)
    assert np.load(out).shape == (3, 1, 8, 8)
    assert fails(2, "sample", ended, "--out", out) == f"{out}: exists"


# A disk that is full


class FullDisk:
    """The disk is full from the n-th call of a function on."""

    def __init__(self, function, good: int) -> None:
        self.function = function
        self.left = good

    def __call__(self, *arguments, **keywords):
        self.left -= 1
        if self.left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.function(*arguments, **keywords)


def full(patched: pytest.MonkeyPatch, where: str, good: int) -> None:
    if where == "tensors":
        disk = FullDisk(bundle.save_file, good)

        def save(tensors, path):
            try:
                disk(tensors, path)
            except OSError as error:  # as safetensors puts it
                raise bundle.safetensors.SafetensorError("I/O error: No space left on device (os error 28)") from error

        patched.setattr(bundle, "save_file", save)
    elif where == "state":
        text_disk = FullDisk(Path.write_text, good)
        patched.setattr(Path, "write_text", lambda *arguments, **keywords: text_disk(*arguments, **keywords))
    else:
        patched.setattr(os, where, FullDisk(getattr(os, where), good))


# Two syncs for each of three files of a run and three walks to be drawn, six of each checkpoint: the second one fails, in each way once.
@pytest.mark.parametrize(("where", "good"), [("tensors", 2), ("tensors", 3), ("state", 2), ("state", 3), ("fsync", 20), ("rename", 1)])
def test_a_disk_that_is_full_at_a_checkpoint_loses_nothing(where, good, recipe, tmp_path, monkeypatch, fails, works):
    path = tmp_path / "run"
    with monkeypatch.context() as patched:
        full(patched, where, good)
        said = fails(4, "run", recipe, "--out", path)
    assert said.startswith(f"{path / 'checkpoints' / '00000004'}: ")
    assert "No space left on device" in said
    [kept] = (path / "checkpoints").iterdir()
    assert kept.name == "00000002"
    verify(kept)
    assert not [file for file in path.rglob("*") if file.name.endswith((".tmp", ".old"))]
    works("resume", path)
    assert sorted(file.name for file in (path / "checkpoints").iterdir()) == ["00000002", "00000004"]


@pytest.mark.parametrize(("where", "good"), [("fsync", 0), ("fsync", 3), ("replace", 2)])
def test_a_disk_that_is_full_at_the_start_leaves_no_directory(where, good, recipe, tmp_path, monkeypatch, fails):
    with monkeypatch.context() as patched:
        full(patched, where, good)
        assert "No space left on device" in fails(4, "run", recipe, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_metrics_that_cannot_be_written_are_named(unfinished, monkeypatch, fails, works):
    """On a device that is really full, in a run of which nothing else is left than its recipe."""
    shutil.rmtree(unfinished / "checkpoints")
    with monkeypatch.context() as patched:
        patched.setattr("chainkit.run.MetricsLog", lambda path: MetricsLog(Path("/dev/full")))
        assert fails(4, "resume", unfinished) == "/dev/full: No space left on device"
    works("resume", unfinished)


@pytest.mark.parametrize(
    ("where", "good", "named"), [("rename", 0, "final"), ("replace", 0, "estimate.json"), ("replace", 1, "evaluation.json")]
)
def test_a_disk_that_is_full_at_the_end_loses_no_training(where, good, named, unfinished, monkeypatch, fails, works):
    checkpoints = contents(unfinished / "checkpoints")
    with monkeypatch.context() as patched:
        full(patched, where, good)
        message = fails(4, "resume", unfinished, figures=named == "evaluation.json")
    assert message.startswith(f"{unfinished}/")
    assert message.endswith(f"/{named}: No space left on device")
    assert contents(unfinished / "checkpoints") == checkpoints
    works("resume", unfinished)
    assert json.loads((unfinished / "evaluation.json").read_text())
    assert contents(unfinished / "checkpoints") == checkpoints


def test_samples_that_cannot_be_written_leave_no_file(ended, tmp_path, monkeypatch, fails):
    out = tmp_path / "samples.npy"
    with monkeypatch.context() as patched:
        full(patched, "fsync", 0)
        assert fails(4, "sample", ended, "--out", out) == f"{out}: No space left on device"
    assert not [file for file in tmp_path.iterdir() if "samples" in file.name]


# Numbers that are none


class Breaking(TinyObjective):
    """A loss that is no number from an update on."""

    def __init__(self, good: int) -> None:
        super().__init__()
        self.good = good

    def losses(self, chain, process, batch, *, source=None):
        self.good -= 1
        for loss in super().losses(chain, process, batch, source=source):
            yield loss if self.good >= 0 else chainkit.Loss(value=loss.value * float("nan"))


class Nothing(TinyEstimator):
    def estimate(self, chain, process, examples):
        return attrs.evolve(super().estimate(chain, process, examples), value=float("nan"))


class Trouble:
    chainkit_api = (1, 1)

    @chainkit.hookimpl
    def chainkit_objectives(self):
        return [Component(name="breaking", config=Plain, build=lambda config, context: Breaking(3))]

    @chainkit.hookimpl
    def chainkit_estimators(self):
        return [Component(name="nothing", config=Plain, build=lambda config, context: Nothing())]


@pytest.fixture
def troubled(monkeypatch):
    monkeypatch.setattr("chainkit.cli.group.load_plugins", lambda **_: tiny_host(trouble=Trouble()))


@pytest.mark.usefixtures("troubled")
@pytest.mark.parametrize("update", ["walk", "step"])
def test_a_loss_that_is_no_number_leaves_with_5_and_a_sound_checkpoint(update, recipe, tmp_path, fails):
    path = tmp_path / "run"
    said = fails(5, "run", recipe, "--out", path, "--set", "objective={type='breaking'}", "--set", f"train.update={update}")
    assert "the loss of model is nan at update 3 of epoch 1" in said
    newest, complaints = RunDirectory(path).latest_sound()
    assert (newest.name, complaints) == ("00000002", [])
    assert all(tensor.isfinite().all() for tensor in read_bundle(newest)[0]["model"].values())
    assert not (path / "final").exists()
    report = json.loads((path / "nonfinite.json").read_text())
    assert (report["update"], report["epoch"], report["error"]) == (3, 1, "the loss of model is nan")
    assert (report["finding"]["component"], report["finding"]["function"]) == ("objective", "Breaking.losses")
    assert "comes from objective (Breaking.losses, aten.mul.Tensor)" in said


@pytest.mark.usefixtures("troubled")
def test_a_figure_that_is_no_number_leaves_with_5_and_stands_nowhere(ended, fails):
    before = contents(ended)
    assert "the estimate on test is nan nats" in fails(5, "evaluate", ended, "--estimator", "nothing")
    assert contents(ended) == before
