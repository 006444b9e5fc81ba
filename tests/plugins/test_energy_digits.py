"""A machine learns the digits: better than any model without dependencies, by figures from both sides and by the exact one."""

import json
import tomllib

import pytest

from chainkit.cli import main
from chainkit.recipe.find import own_folder

RECIPE = own_folder() / "rbm_digits.toml"
ESTIMATORS = [
    {"type": "enumerated"},
    {"type": "ais", "steps": 300, "chains": 50},
    {"type": "raise", "steps": 300, "walks": 2},
    {"type": "bidirectional", "steps": 300, "walks": 2},
    {"type": "factorial"},
]
SETTINGS = {
    "data.valid": 100,
    "chain.operator.energy.hidden": 16,  # few enough for the exact figure
    "objective.steps": 1,
    "train.epochs": 50,
    "train.checkpoint_every": 50,
    "validate.estimator": {"type": "enumerated"},
    "evaluate.examples": 100,
    "sample.n": 9,
    "sample.steps": 50,
    "evaluate.estimators": ESTIMATORS,
}


def toml(value):
    """A value as ``--set`` reads it."""
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {toml(item)}' for key, item in value.items())} }}"
    return f"[{', '.join(map(toml, value))}]" if isinstance(value, list) else json.dumps(value)


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    """The figures of the shipped recipe, made small, by name."""
    path = tmp_path_factory.mktemp("digits") / "run"
    assert tomllib.loads(RECIPE.read_text())["objective"]["type"] == "persistent-divergence"
    words = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={toml(value)}")]
    assert main(["run", str(RECIPE), "--out", str(path), *words]) == 0
    return {record["name"]: record for record in json.loads((path / "evaluation.json").read_text())}


def test_it_beats_the_factorial_model(figures):
    exact = figures["enumerated"]
    assert exact["baseline"] == figures["factorial baseline"]["value"]
    assert exact["value"] > exact["baseline"] + 2


def test_annealing_from_either_side_gives_the_exact_figure(figures):
    exact, above, below = (figures[name] for name in ("enumerated", "AIS", "RAISE"))
    assert abs(above["value"] - exact["value"]) < 4.5 * above["error_walks"]
    assert abs(below["value"] - exact["value"]) < 4.5 * below["error_walks"] + 0.1
    assert above["error_walks"] < 0.2
    assert above["details"]["log_partition"] == pytest.approx(exact["details"]["log_partition"], abs=4.5 * above["error_walks"])


def test_the_gap_says_that_the_figures_are_tight(figures):
    assert abs(figures["bidirectional gap"]["value"]) < 0.1
