"""The run fixture of the testing kit: a recipe's whole way, around tiny parts or a plugin's own."""

from __future__ import annotations

import json

import attrs
import pytest

import chainkit
from chainkit.component import Component
from chainkit.errors import RecipeError
from chainkit.testing import TINY_RECIPE
from chainkit.testing.parts import TinyObjective

pytest_plugins = ["chainkit.testing.fixtures"]


def test_a_run_is_trained_for_two_updates_sampled_and_evaluated(run):
    made = run()
    assert (made.update, made.finished, made.chain.steps) == (2, True, 3)
    assert made.sample().state.shape == (6, 2)
    [record] = json.loads((made.path / "evaluation.json").read_text())
    assert (record["name"], record["unit"], record["examples"]) == ("tiny bound", "nats", 12)


def test_runs_take_overrides_and_do_not_touch_each_other(run):
    first, second = run(), run(TINY_RECIPE, "chain.steps=4", "data.binary=true", "data.labels=true")
    assert first.path != second.path
    assert second.chain.steps == 4
    assert set(second.sample(50).state.unique().tolist()) == {0.0, 1.0}


@attrs.frozen(kw_only=True)
class Doubled:
    """The tiny objective with a factor.

    Arguments:
        factor: Any number.
    """

    factor: float = 2.0


class Mine:
    """A plugin as its author tests it before it is installed."""

    chainkit_api = (1, 1)

    def __init__(self):
        self.ended = []

    @chainkit.hookimpl
    def chainkit_objectives(self):
        def build(config, context):
            objective = TinyObjective()
            objective.factor = config.factor
            return objective

        return [Component(name="doubled", config=Doubled, build=build)]

    @chainkit.hookimpl
    def chainkit_run_end(self, run):
        self.ended.append(run.path)


def test_a_plugin_that_is_not_installed_takes_part(run):
    mine = Mine()
    made = run(TINY_RECIPE, "objective.type=mine:doubled", mine=mine)
    assert made.model.objective.factor == 2.0
    assert mine.ended == [made.path]


def test_a_recipe_that_cannot_be_used_says_why(run):
    with pytest.raises(RecipeError, match=r"chain\.steps: must be 1 or more"):
        run(TINY_RECIPE, "chain.steps=0")
