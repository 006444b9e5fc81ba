"""The recipes of this plugin run to their end."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

import chainkit_placeholder
from chainkit.run import Run

RECIPES = sorted((Path(chainkit_placeholder.__file__).parent / "recipes").glob("*.toml"))
SMALL = ("device=cpu", "train.max_updates=5", "sample.n=4", "evaluate.examples=8")


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_recipe_is_trained_sampled_from_and_evaluated(recipe: Path, run: Callable[..., Run]) -> None:
    trained = run(recipe.read_text(encoding="utf-8"), *SMALL)
    assert trained.finished
    assert trained.update == 5
    figures = json.loads((trained.path / "evaluation.json").read_text(encoding="utf-8"))
    assert figures
    assert all(math.isfinite(figure["value"]) for figure in figures)
