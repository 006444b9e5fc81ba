"""Several processes on one run give the numbers of one: losses, weights and figures, whatever their number.

Runs are in float64 and batches are shared out unevenly, so that a draw, a mean or a gradient of the
wrong rows shows; what is left is rounding, 1e-10 of each number.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from chainkit.bundle import read_bundle
from chainkit.run_directory import RunDirectory

COMMON = """
device = "cpu"
[sample]
n = 4
[train]
precision = "float64"
epochs = 2
batch_size = 25
statistics_examples = 40
clip_norm = 5.0
ema = 0.9
optimizer = { type = "adam", lr = 0.01 }
"""
FIGURES = """
[validate]
estimator = { type = "lower-bound", walks = 2 }
examples = 5
[evaluate]
examples = 30
estimators = [{ type = "importance", walks = 3, max_rows = 12 }, { type = "factorial" }]
"""
HEATED = """
[data]
type = "grid-3x3"
n = 90
[chain]
steps = 3
temperature = { type = "geometric", ratio = 1.5 }
prior = { type = "gaussian" }
operator = { type = "walkback-gaussian", sigma0 = 0.1, network = { type = "mlp", hidden = [5], norm = "NORM" } }
[process]
type = "heated"
[objective]
type = "walkback"
"""
DIFFUSION = """
[data]
type = "swiss-roll"
n = 90
[chain]
steps = 3
prior = { type = "gaussian", fit = false }
operator = { type = "diffusion-gaussian", network = { type = "mlp", hidden = [5], step = "embedding", norm = "NORM" } }
[process]
type = "diffusion-gaussian"
schedule = { type = "variance-learned", initial = { type = "variance-cosine" } }
[objective]
type = "diffusion-bound"
steps = "one"
"""
BITS = """
[data]
type = "heartbeat"
n = 90
[chain]
steps = 3
prior = { type = "bernoulli" }
"""
METHODS = {
    "heated, per step": (HEATED.replace("NORM", "per-step") + FIGURES, ['train.update="step"']),
    "heated, shared": (HEATED.replace("NORM", "shared") + FIGURES, ["train.accumulate=2"]),
    "infusion": (
        """
[data]
type = "digits"
scale = 17
dequantize = true
valid = 700
test = 1000
[chain]
steps = 3
prior = { type = "gaussian" }
operator = { type = "infusion-gaussian", network = { type = "mlp", hidden = [5], norm = "per-step" } }
[process]
type = "infusion"
rate = { type = "increasing", omega = 0.1 }
[objective]
type = "denoising"
"""
        + FIGURES,
        [],
    ),
    "diffusion, a step for each": (DIFFUSION.replace("NORM", "per-step") + FIGURES, []),
    "diffusion, a step for all": (DIFFUSION.replace("NORM", "shared") + FIGURES, ["objective.shared=true"]),
    "score function": (
        BITS
        + """
operator = { type = "walkback-bernoulli", network = { type = "mlp", hidden = [5] } }
[process]
type = "heated"
[objective]
type = "walkback-bound"
walks = 2
"""
        + FIGURES,
        [],
    ),
    "network of noise": (
        BITS
        + """
operator = { type = "gsn", hidden = [5], noise = [1.0], corruption = { type = "salt-and-pepper", rate = 0.4 } }
[process]
type = "chain-walk"
[objective]
type = "reconstruction"
gradient = "walk"
[evaluate]
estimators = [{ type = "parzen", samples = 20 }]
""",
        [],
    ),
    "persistent chains": (
        BITS
        + """
temperature = { type = "annealed" }
operator = { type = "block-gibbs", energy = { type = "rbm", hidden = 5 } }
[process]
type = "heated"
[objective]
type = "persistent-divergence"
chains = 10
restart = 0.2
"""
        + FIGURES,
        [],
    ),
}


EVEN = "heated, per step"
"""The method that two processes try as well; three share out everything unevenly."""


class Launcher:
    """Starts processes as torchrun does, by :mod:`launcher`."""

    def __init__(self) -> None:
        environment = os.environ | {"CHAINKIT_DISABLE_PLUGINS": "figures", "OMP_NUM_THREADS": "1"}
        script = [sys.executable, str(Path(__file__).with_name("launcher.py"))]
        self.server = subprocess.Popen(script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)

    def ask(self, command: str, **given):
        self.server.stdin.write(json.dumps([command, given]) + "\n")
        self.server.stdin.flush()
        return json.loads(self.server.stdout.readline())

    def run(self, size: int, log: Path, *arguments: object) -> list[int]:
        """The exit codes of as many processes of a command line."""
        return self.ask("wait", pids=self.start(size, log, *arguments))

    def start(self, size: int, log: Path, *arguments: object) -> list[int]:
        return self.ask("start", arguments=[str(argument) for argument in arguments], size=size, log=str(log))

    def close(self) -> None:
        self.server.stdin.close()
        self.server.wait()


@pytest.fixture(scope="module")
def launcher():
    found = Launcher()
    yield found
    found.close()


@pytest.fixture
def recipe(tmp_path):
    """Writes the recipe of a method; returns the arguments that run it."""

    def write(method: str, *more: str) -> list[str]:
        text, changes = METHODS[method]
        path = tmp_path / "recipe.toml"
        path.write_text(COMMON + text)
        return ["run", str(path), *(part for change in [*changes, *more] for part in ("--set", change))]

    return write


def metrics(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def figures(run: Path) -> list[dict]:
    """What was written of every figure."""
    return json.loads((run / "evaluation.json").read_text(encoding="utf-8"))


def numbers(value, name: str = "") -> dict[str, float]:
    """All numbers in nested JSON data, by their place."""
    if isinstance(value, (dict, list)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {place: number for key, inner in items for place, number in numbers(inner, f"{name}/{key}").items()}
    return {name: float(value)} if isinstance(value, (int, float)) else {name + "=" + str(value): 0.0}


def same_numbers(found, expected) -> None:
    found, expected = numbers(found), numbers(expected)
    assert found.keys() == expected.keys()
    for name, number in expected.items():
        assert found[name] == pytest.approx(number, rel=1e-10, abs=1e-10, nan_ok=True), name


def same_run(found: Path, expected: Path) -> None:
    """Every loss, validation figure, weight and figure of two runs is the same to 1e-10."""
    same_numbers(metrics(found), metrics(expected))
    assert len(metrics(expected)) >= 6
    same_end(found, expected)


def same_end(found: Path, expected: Path) -> None:
    """The weights and figures of two runs are the same to 1e-10."""
    weights, reference = (read_bundle(run / "final")[0]["model"] for run in (found, expected))
    for name, tensor in reference.items():
        torch.testing.assert_close(weights[name], tensor, rtol=1e-10, atol=1e-10)
    same_numbers(figures(found), figures(expected))


@pytest.mark.parametrize("method", METHODS)
def test_losses_weights_and_figures_do_not_depend_on_the_number_of_processes(launcher, recipe, tmp_path, method):
    arguments, log = recipe(method), tmp_path / "log"
    others = (2, 3) if method == EVEN else (3,)
    for size in (1, *others):
        codes = launcher.run(size, log, *arguments, "--out", tmp_path / str(size))
        assert codes == [0] * size, log.read_text()
    for size in others:
        same_run(tmp_path / str(size), tmp_path / "1")


def until(path: Path, log: Path) -> None:
    """Waits for a file; a run that ends without it shows why."""
    deadline = time.monotonic() + 120
    while not path.exists():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.01)


LONG = ["train.epochs=40", "train.checkpoints=1000"]


def test_one_that_is_killed_and_all_that_are_stopped_leave_a_run_that_another_number_ends(launcher, recipe, tmp_path):
    arguments, log, run = recipe("heated, per step", *LONG), tmp_path / "log", tmp_path / "run"
    assert launcher.run(1, log, *arguments, "--out", tmp_path / "1") == [0]

    pids = launcher.start(3, log, *arguments, "--out", run)
    until(run / "checkpoints" / "00000006", log)
    os.kill(pids[1], signal.SIGKILL)
    codes = launcher.ask("wait", pids=pids)
    assert codes[1] == -9
    assert 0 not in codes
    assert "a bug of" not in log.read_text()
    assert not (run / "final").exists()

    killed = max(path.name for path in (run / "checkpoints").iterdir())
    pids = launcher.start(2, log, "resume", run)
    until(run / "checkpoints" / f"{int(killed) + 3:08d}", log)
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
    assert launcher.ask("wait", pids=pids) == [143, 143]
    assert not (run / "final").exists()

    assert launcher.run(1, log, "resume", run) == [0], log.read_text()
    same_run(run, tmp_path / "1")
    environment = json.loads((run / "environment.json").read_text())
    assert environment["processes"] == 3
    assert [one["processes"] for one in environment["continued"]] == [2, 1]
    assert environment["continued"][0]["update"] == int(killed)
    assert log.read_text().count("processes 3 before, 2 now") == 1


def test_torchrun_starts_stops_and_resumes_a_run(launcher, recipe, tmp_path):
    arguments, log, run = recipe("diffusion, a step for each", *LONG), tmp_path / "log", tmp_path / "run"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "chainkit"]
    with log.open("w") as words:
        started = subprocess.Popen([*torchrun, *arguments, "--out", str(run)], stdout=words, stderr=words)
        until(run / "checkpoints" / "00000006", log)
        started.send_signal(signal.SIGTERM)
        assert started.wait() != 0
    assert log.read_text().count("stopped by SIGTERM") == 1
    assert not (run / "final").exists()
    assert launcher.run(3, log, "resume", run) == [0, 0, 0], log.read_text()
    assert launcher.run(1, log, *arguments, "--out", tmp_path / "1") == [0]
    same_end(run, tmp_path / "1")


def test_an_evaluation_that_was_stopped_is_ended_by_another_number_of_processes(launcher, recipe, tmp_path):
    arguments, log, run, other = recipe("score function"), tmp_path / "log", tmp_path / "run", tmp_path / "other"
    assert launcher.run(1, log, *arguments, "--out", run) == [0]
    shutil.copytree(run, other)
    asked = ["--estimator", "importance", "--walks", "2000", "--max-rows", "250", "--examples", "20"]
    pids = launcher.start(2, log, "evaluate", run, *asked)
    until(run / "evaluating", log)
    until(next((run / "evaluating").iterdir()) / f"{5:09d}", log)
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
    assert launcher.ask("wait", pids=pids) == [143, 143]
    kept = len(list(next((run / "evaluating").iterdir()).iterdir()))
    assert 5 < kept < 160
    assert launcher.run(3, log, "evaluate", run, *asked) == [0, 0, 0], log.read_text()
    assert not (run / "evaluating").exists()
    assert launcher.run(1, log, "evaluate", other, *asked) == [0]
    same_numbers(figures(run), figures(other))


SHARING = """
import sys
from pathlib import Path
from chainkit.distributed import joined
from chainkit.testing import tiny_chain, tiny_data
from chainkit.testing.tiny import TinyProcess
from chainkit_estimators import Importance

chain = tiny_chain()
forward = type(chain.operator).forward

def counted(self, state, k, condition=None):
    global rows
    rows += len(state)
    return forward(self, state, k, condition)

rows, type(chain.operator).forward = 0, counted
with joined() as group:
    estimate = Importance(walks=20, max_rows=40).estimate(chain, TinyProcess(), tiny_data()("test"))
Path(sys.argv[1], str(group.rank)).write_text(f"{rows} {estimate.value}")
"""


def test_each_process_works_out_its_part_of_an_estimate_and_has_all_of_it(launcher, tmp_path):
    found = {}
    for size in (1, 2):
        log, folder = tmp_path / f"log{size}", tmp_path / str(size)
        folder.mkdir()
        assert launcher.run(size, log, "-c", SHARING, folder) == [0] * size, log.read_text()
        found[size] = [(folder / str(rank)).read_text().split() for rank in range(size)]
    [(whole, value)] = found[1]
    shares = [int(rows) for rows, _ in found[2]]
    assert sum(shares) == int(whole)
    assert all(0.4 * int(whole) < share < 0.6 * int(whole) for share in shares)
    assert all(value == other for _, other in found[2])


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ("train.batch_size=2", 2, "train.batch_size: 2 rows cannot be shared out among 3 processes"),
        ("train.optimizer.lr=1e300", 5, "error: the loss of model is "),
    ],
)
def test_what_is_wrong_for_all_ends_all_and_is_said_once(launcher, recipe, tmp_path, change, code, words):
    log = tmp_path / "log"
    assert launcher.run(3, log, *recipe("heated, per step", change), "--out", tmp_path / "run") == [code] * 3
    assert log.read_text().count(words) == 1, log.read_text()


def test_a_run_that_is_held_is_refused_by_all(launcher, recipe, tmp_path):
    log, run = tmp_path / "log", tmp_path / "run"
    assert launcher.run(1, log, *recipe("heated, shared"), "--out", run) == [0]
    with RunDirectory(run).locked():
        assert launcher.run(2, log, "resume", run) == [6, 6]
