"""Whether the parts of a recipe fit together, found by reading it; and finding recipes by name."""

from __future__ import annotations

import types
from pathlib import Path

import pytest

import chainkit
from chainkit.errors import RecipeError
from chainkit.host import Host
from chainkit.recipe import check_recipe, find_recipe, read_recipe, shipped_recipes

TEXT = """
data = { type = "points" }
process = { type = "walk" }
objective = { type = "fit" }
chain = { steps = 4, prior = { type = "normal" }, operator = { type = "step" } }
train = { optimizer = { type = "descent" } }
"""


def problems(toys: Host, *overrides: str) -> list[str]:
    with pytest.raises(RecipeError) as error:
        read_recipe(TEXT, toys.registry, overrides)
    return list(error.value.problems)


def test_a_recipe_whose_parts_fit_has_no_problems(toys: Host) -> None:
    assert check_recipe(read_recipe(TEXT, toys.registry)) == []


def test_a_capability_that_is_missing_is_named_with_the_setting_that_gives_it(toys: Host) -> None:
    [problem] = problems(toys, "chain.operator={ type = 'bits' }")
    assert problem == (
        "chain.operator: bits needs of the dataset: BinaryStates (states are vectors of zeros and ones with a mass); "
        'data (points) gives RealStates; set data.binarize = "threshold"'
    )
    assert read_recipe(TEXT, toys.registry, ["chain.operator={ type = 'bits' }", "data.binarize=threshold"])


def test_needs_of_nested_parts_are_checked(toys: Host) -> None:
    [problem] = problems(toys, "chain.operator.network={ type = 'bits-only' }")
    assert problem.startswith("chain.operator.network: bits-only needs of the dataset: BinaryStates")


def test_a_part_that_gives_nothing_is_said_to(toys: Host) -> None:
    [problem] = problems(toys, "chain.operator={ type = 'silent' }", "objective={ type = 'fit-density' }")
    assert problem == (
        "objective: fit-density needs of the operator: Density (a distribution with a tractable log density); "
        "chain.operator (silent) gives nothing of the kind"
    )


def test_what_is_known_only_once_built_is_not_a_problem(toys: Host) -> None:
    assert read_recipe(TEXT, toys.registry, ["data={ type = 'mystery' }", "chain.operator={ type = 'bits' }"])


def without_steps(toys: Host, *overrides: str) -> list[str]:
    with pytest.raises(RecipeError) as error:
        read_recipe(TEXT.replace("steps = 4, ", ""), toys.registry, overrides)
    return list(error.value.problems)


def test_the_number_of_steps_may_be_left_out_only_where_it_can_be_inferred(toys: Host) -> None:
    text = TEXT.replace("steps = 4, ", "")
    assert read_recipe(text, toys.registry, ["chain.temperature=constant"]).chain.steps is None
    assert without_steps(toys, "chain.operator={ type = 'silent' }") == [
        "chain.steps: is missing, and cannot be inferred: silent does not state its noise level"
    ]
    assert without_steps(toys) == ["chain.steps: is missing, and cannot be inferred: there is no chain.temperature that rises"]


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (["train.accumulate=2", "train.update=step"], "train.accumulate"),
        (["train.patience=3"], "train.patience"),
        (["validate.estimator=bound", "validate.also=['bound']"], "validate.also.0"),
        (["device=gpu"], "device"),
        (["device='cuda:x'"], "device"),
        (["sample.steps=5"], "sample.steps"),
        (["sample.steps=5", "chain.extend=respace"], "sample.steps"),
        (["chain.operator={ type = 'silent' }", "chain.extend=respace"], "chain.extend"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(overrides: list[str], key: str, toys: Host) -> None:
    [problem] = problems(toys, *overrides)
    assert problem.startswith(f"{key}: ")


@pytest.mark.parametrize(
    "overrides",
    [
        ["train.accumulate=2"],
        ["train.patience=3", "validate.estimator=bound"],
        ["device='cuda:1'"],
        ["sample.steps=5", "chain.extend=data-end"],
        ["sample.steps=3", "chain.extend=respace"],
    ],
)
def test_settings_that_go_together_are_accepted(overrides: list[str], toys: Host) -> None:
    assert read_recipe(TEXT, toys.registry, overrides)


def shipping(folder: Path) -> types.SimpleNamespace:
    def chainkit_recipes() -> list[Path]:
        return [folder]

    return types.SimpleNamespace(chainkit_api=(1, 1), chainkit_recipes=chainkit.hookimpl(chainkit_recipes))


def test_recipes_of_plugins_are_found_by_name_and_any_file_by_path(toys: Host, tmp_path: Path) -> None:
    (tmp_path / "dots.toml").write_text('title = "Dots"\n' + TEXT)
    (tmp_path / "wrong.toml").write_text("title = = 3")
    toys.add(shipping(tmp_path), "shipping")
    own = {recipe.name: recipe for recipe in shipped_recipes(toys) if recipe.provider == "shipping"}
    assert (own["dots"].title, own["wrong"].title) == ("Dots", "")
    assert find_recipe("dots", toys) == find_recipe("shipping:dots", toys) == tmp_path / "dots.toml"
    assert find_recipe(str(tmp_path / "dots.toml"), toys) == tmp_path / "dots.toml"


def test_an_unknown_recipe_suggests_what_was_meant(toys: Host, tmp_path: Path) -> None:
    (tmp_path / "sparkles.toml").write_text(TEXT)
    toys.add(shipping(tmp_path), "shipping")
    with pytest.raises(RecipeError, match=r"^sparkls: no such file, nor a recipe of this name; did you mean 'sparkles'\?"):
        find_recipe("sparkls", toys)
    with pytest.raises(RecipeError, match=r"^recipes/sparkles\.toml: no such file; did you mean 'sparkles'"):
        find_recipe("recipes/sparkles.toml", toys)


def test_two_recipes_of_one_name_need_their_plugin(toys: Host, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "dots.toml").write_text(TEXT)
        toys.add(shipping(tmp_path / name), name)
    with pytest.raises(RecipeError, match="recipes of this name from one and two; write plugin:dots"):
        find_recipe("dots", toys)
    assert find_recipe("two:dots", toys) == tmp_path / "two" / "dots.toml"
