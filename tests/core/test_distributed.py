"""Several processes on one run give the numbers of one: losses, weights and figures, whatever their number.

Runs are in float64 and batches are shared out unevenly, so that a draw, a mean or a gradient of the
wrong rows shows; what is left is rounding, 1e-10 of each number.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from chainkit.bundle import read_bundle

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
    """The figures, their numbers as lists of (name, value)."""
    return json.loads((run / "evaluation.json").read_text())


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
    """Every loss, metric, weight and figure of two runs is the same to 1e-10."""
    same_numbers(metrics(found), metrics(expected))
    assert len(metrics(expected)) >= 2
    weights, reference = (read_bundle(run / "final")[0]["model"] for run in (found, expected))
    for name, tensor in reference.items():
        torch.testing.assert_close(weights[name], tensor, rtol=1e-10, atol=1e-10)
    same_numbers(figures(found), figures(expected))


@pytest.mark.parametrize("method", METHODS)
def test_losses_weights_and_figures_do_not_depend_on_the_number_of_processes(launcher, recipe, tmp_path, method):
    arguments, log = recipe(method), tmp_path / "log"
    for size in (1, 2, 3):
        codes = launcher.run(size, log, *arguments, "--out", tmp_path / str(size))
        assert codes == [0] * size, log.read_text()
    for size in (2, 3):
        same_run(tmp_path / str(size), tmp_path / "1")
