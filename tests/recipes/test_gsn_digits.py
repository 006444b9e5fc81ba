"""GSN recipes on digits, trained for some seconds, against baselines that know nothing of dependencies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chainkit.cli import main


def figures(name: str, folder: Path, **settings: Any) -> dict[str, dict[str, Any]]:
    """The figures of a recipe by name, after a shorter training."""
    words = [word for key, value in settings.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    assert main(["run", name, "--out", str(folder / "run"), *words]) == 0
    return {record["name"]: record for record in json.loads((folder / "run" / "evaluation.json").read_text())}


def test_samples_read_as_digits_more_clearly_than_those_of_the_factorial_model(tmp_path):
    """After 40 epochs 0.74 where the factorial model has 0.41 and held-out digits 0.77."""
    parzen = {"evaluate.estimators.0.samples": 100, "evaluate.estimators.0.steps": 20}
    classifier = {"evaluate.estimators.2.samples": 400, "evaluate.estimators.2.steps": 60}
    found = figures("gsn_digits", tmp_path, **parzen, **classifier, **{"train.epochs": 40, "sample.n": 16, "sample.steps": 40})
    read = found["classifier confidence"]
    assert read["beside"]["accuracy"] > 0.85
    assert read["value"] - 5 * read["error"] > read["beside"]["factorial model"] + 0.1
    assert read["beside"]["class entropy (nats)"] > 1.8  # of log 10 = 2.3: most classes are drawn


def test_labels_are_found_far_above_chance(tmp_path):
    """After 10 epochs 0.90 where always naming the commonest class gives 0.07."""
    found = figures("dgsn_digits", tmp_path, **{"train.epochs": 10, "sample.n": 16})["output accuracy"]
    assert found["value"] - 5 * found["error"] > 0.7
    assert found["beside"]["always the commonest"] == pytest.approx(0.1, abs=0.05)
