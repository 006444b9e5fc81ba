"""Every shipped recipe is in order, and says so in a form that can be run again."""

from __future__ import annotations

import json
import tomllib

import pytest

from chainkit.capabilities import Weighable
from chainkit.cli import main
from chainkit.host import load_plugins
from chainkit.recipe import read_recipe, resolved_text, shipped_recipes, unstructure

HOST = load_plugins(strict=True)
SHIPPED = shipped_recipes(HOST)
SETS = {"digits", "mnist", "cifar10", "celeba", "swiss_roll", "grid_3x3"}

every_recipe = pytest.mark.parametrize("shipped", SHIPPED, ids=lambda shipped: shipped.name)


@every_recipe
def test_a_shipped_recipe_is_in_order(shipped, capsys):
    assert main(["check", shipped.name, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["problems"] == []


@every_recipe
def test_a_resolved_recipe_reads_back_equal(shipped):
    recipe = read_recipe(shipped.path, HOST.registry)
    text = resolved_text(recipe)
    again = read_recipe(text, HOST.registry)
    assert unstructure(again) == unstructure(recipe)
    assert resolved_text(again) == text


@every_recipe
def test_resolving_changes_nothing_that_a_recipe_says(shipped):
    """What it writes stands in the resolved text, which adds the defaults."""

    def said(given, resolved, path=""):
        if isinstance(given, dict):
            for key, value in given.items():
                said(value, resolved[key], f"{path}.{key}")
        elif isinstance(given, list):
            assert len(given) == len(resolved), path
            for value, other in zip(given, resolved, strict=True):
                said(value, other, path)
        else:
            assert given == resolved, path

    said(tomllib.loads(shipped.path.read_text()), tomllib.loads(resolved_text(read_recipe(shipped.path, HOST.registry))))


@every_recipe
def test_a_recipe_is_figured_beside_the_factorial_model(shipped):
    recipe = read_recipe(shipped.path, HOST.registry)
    estimators = {part.name for part in recipe.evaluate.estimators}
    operator = recipe.chain.operator
    weighable = any(issubclass(given, Weighable) for given in operator.component.provided(operator.config) or ())
    assert "factorial" in estimators
    assert "lower-bound" in estimators if weighable else len(estimators) > 1


@every_recipe
def test_a_recipe_says_what_it_stands_for(shipped):
    assert shipped.title
    assert shipped.path.read_text().startswith("# ")


def test_every_method_has_a_recipe_for_every_set():
    methods = {name: {shipped.name.removeprefix(f"{name}_") for shipped in SHIPPED} for name in ("vw", "infusion", "diffusion")}
    assert all(found >= SETS for found in methods.values())
    assert "heartbeat" in methods["diffusion"]
