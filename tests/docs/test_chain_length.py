"""The study of chain lengths: its recipes are in order, its budget is what it says, its page comes from records."""

from __future__ import annotations

import importlib.util
import itertools
import subprocess
import sys
from pathlib import Path

import pytest

from chainkit.host import load_plugins
from chainkit.recipe import read_recipe

STUDY = Path(__file__).parents[2] / "docs" / "studies" / "chain_length.py"


@pytest.fixture(scope="module")
def study():
    specification = importlib.util.spec_from_file_location("chain_length", STUDY)
    module = importlib.util.module_from_spec(specification)
    sys.modules["chain_length"] = module
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize("data", ["digits", "mnist"])
def test_every_point_is_a_recipe_in_order(study, tmp_path, data):
    registry, task = load_plugins(strict=True).registry, study.TASKS[data]
    for point in study.points():
        command = point.command(task, tmp_path)
        overrides = [word for before, word in itertools.pairwise(command) if before == "--set"]
        recipe = read_recipe(Path(command[2]), registry, overrides)
        assert recipe.chain.steps == point.steps
        assert recipe.train.max_updates == point.updates(task.budget)
        assert recipe.chain.operator.config.network.config.hidden == [task.hidden, task.hidden]
        assert recipe.data.component.name == data


@pytest.mark.parametrize("method", ["walkback", "infusion", "diffusion"])
def test_every_training_evaluates_the_network_on_as_many_states(study, method):
    states = {"walkback": 5, "infusion": 4, "diffusion": 1}[method]
    updates = study.Point(method=method, steps=4, seed=0).updates(10**6)
    assert 0.99 * 10**6 < updates * states * study.BATCH <= 10**6


def test_a_run_gives_a_record_and_records_give_the_page(study, tmp_path):
    """One point for real, small; then means and standard errors over seeds by hand."""
    point, task = study.Point(method="infusion", steps=2, seed=0), study.Task(title="Few", budget=2000, hidden=7, hottest=16.0)
    small = [
        "--set",
        "data.test=40",
        "--set",
        'evaluate.estimators=[{type="frechet", samples=60, features="pixels"}, {type="copying", samples=20}]',
    ]
    subprocess.run([*point.command(task, tmp_path), *small], check=True, capture_output=True)
    figures = study.found(point, tmp_path)["figures"]
    assert study.found(study.Point(method="infusion", steps=2, seed=1), tmp_path) is None
    records = [
        {
            "method": "infusion",
            "steps": 2,
            "seed": seed,
            "figures": [{**figures[0], "value": value}, figures[1], {**figures[0], "value": 1.0}],
        }
        for seed, value in enumerate((1.0, 2.0, 6.0))
    ]
    page = study.part(task, records)
    assert "| 2 | - | 3 ± 1.5 | - |" in page
    assert "2 000 network evaluations" in page


@pytest.mark.parametrize(("code", "raises"), [(0, False), (5, False), (3, True)])
def test_samples_that_explode_end_no_study(study, tmp_path, monkeypatch, code, raises):
    """Exit code 5; any other failure does."""
    point, task = study.Point(method="walkback", steps=4, seed=0), study.Task(title="Few", budget=2000, hidden=7, hottest=16.0)
    monkeypatch.setattr(study.Point, "command", lambda *_: [sys.executable, "-c", f"raise SystemExit({code})"])
    if raises:
        with pytest.raises(subprocess.CalledProcessError):
            study.make(point, task, tmp_path)
    else:
        study.make(point, task, tmp_path)
