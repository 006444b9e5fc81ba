"""Reading recipes: nothing is converted silently, and every problem is reported at once at its dotted key."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chainkit.component import Part
from chainkit.errors import RecipeError
from chainkit.host import Host
from chainkit.recipe import Recipe, read_recipe, resolved_text, unstructure

TEXT = """
title = "toys"
data = { type = "points" }
process = { type = "walk" }
objective = { type = "fit" }

[chain]
steps = 4
prior = { type = "normal" }
operator = { type = "step" }

[train]
optimizer = { type = "descent" }

[evaluate]
estimators = [{ type = "bound", walks = 3 }, { type = "bound" }]
"""


def read(toys: Host, *overrides: str) -> Recipe:
    return read_recipe(TEXT, toys.registry, overrides)


def problems(toys: Host, *overrides: str, text: str = TEXT) -> list[str]:
    with pytest.raises(RecipeError) as error:
        read_recipe(text, toys.registry, overrides)
    return list(error.value.problems)


def test_a_recipe_becomes_chosen_components_with_checked_settings(toys: Host) -> None:
    recipe = read(toys)
    operator = recipe.chain.operator
    assert isinstance(operator, Part)
    assert (operator.name, operator.path, operator.config.noise) == ("step", "chain.operator", 0.1)
    assert (operator.config.network.name, operator.config.network.path) == ("layers", "chain.operator.network")
    assert (operator.config.network.config.hidden, operator.config.network.config.activation) == ([4], "tanh")
    assert [(part.path, part.config.walks) for part in recipe.evaluate.estimators] == [
        ("evaluate.estimators.0", 3),
        ("evaluate.estimators.1", 10),
    ]
    assert recipe.train.epochs == 10


def test_a_name_alone_is_a_component_without_settings(toys: Host) -> None:
    assert read(toys, "chain.operator.rate=constant").chain.operator.config.rate.config.value == 1.0


def test_a_table_without_type_amends_the_default_component(toys: Host) -> None:
    network = read(toys, "chain.operator.network.hidden=[8, 8]").chain.operator.config.network
    assert (network.name, network.config.hidden, network.config.activation) == ("layers", [8, 8], "tanh")


def test_an_integer_stands_for_a_number_and_becomes_one(toys: Host) -> None:
    noise = read(toys, "chain.operator.noise=2").chain.operator.config.noise
    assert (noise, type(noise)) == (2.0, float)


def test_unions_and_pairs_take_each_of_their_forms(toys: Host) -> None:
    assert read(toys, "chain.operator.mode=2").chain.operator.config.mode == 2.0
    assert read(toys, "chain.operator.mode=auto").chain.operator.config.mode == "auto"
    assert read(toys, "chain.operator.window=[3, 4]").chain.operator.config.window == (3, 4)


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("chain.steps=true", "chain.steps: must be an integer, not true"),
        ("chain.steps='10'", 'chain.steps: must be an integer, not "10"'),
        ("chain.steps=1.9", "chain.steps: must be an integer, not 1.9"),
        ("chain.steps=0", "chain.steps: must be 1 or more, not 0"),
        ("chain.steps=-3", "chain.steps: must be 1 or more, not -3"),
        ("seed=9223372036854775808", "seed: must be an integer of 64 bits"),
        ("train.clip_norm=nan", "train.clip_norm: must be finite, not nan"),
        ("train.clip_norm=-inf", "train.clip_norm: must be finite, not -inf"),
        ("train.clip_norm=true", "train.clip_norm: must be a number, not true"),
        ("title=3", "title: must be a string, not 3"),
        ("title=2020-01-01", "title: must be a string, not the date 2020-01-01"),
        ("chain.extend=data-ends", 'chain.extend: must be "refuse" or "data-end" or "noise-end" or "respace", not "data-ends"'),
        ("chain=3", "chain: must be a table, not 3"),
        ("chain.operator=3", "chain.operator: must be an operator, not 3"),
        ("chain.operator.type=stepp", "chain.operator.type: there is no operator 'stepp'; did you mean 'step'?"),
        ("chain.operator={}", "chain.operator.type: is missing: the name of an operator, one of bits, silent, step"),
        ("chain.operator.type=4", "chain.operator.type: must be a string, not 4"),
        ("chain.operator.noize=4", "chain.operator.noize: is an unknown key; did you mean 'noise'?"),
        ("process.speed=4", "process.speed: is an unknown key; there are none here"),
        ("chain.operator.network.hidden=[8, 'a']", 'chain.operator.network.hidden.1: must be an integer, not "a"'),
        ("chain.operator.network.hidden='8'", 'chain.operator.network.hidden: must be a list, not "8"'),
        ("chain.operator.network.hidden=[8, 0]", "chain.operator.network.hidden: must be 1 or more, not 0"),
        ("chain.operator.window=[1]", "chain.operator.window: must be a list of 2, not of 1"),
        ("chain.operator.window=[1, 2.5]", "chain.operator.window.1: must be an integer, not 2.5"),
        ("chain.operator.mode=manual", 'chain.operator.mode: must be "auto" or a number, not "manual"'),
        ("chain.operator.rate={ type = 'constant', value = 0 }", "chain.operator.rate.value: must be above 0, not 0.0"),
        ("data.valid=10", "data.valid: must be below n = 10"),
        ("evaluate.estimators.1.walks=0", "evaluate.estimators.1.walks: must be 1 or more, not 0"),
        ("evaluate.estimators=bound", 'evaluate.estimators: must be a list, not "bound"'),
        ("train.optimizers={ critic = 3 }", "train.optimizers.critic: must be an optimizer, not 3"),
        ("plugins=['toy']", "plugins: there is no plugin 'toy'; did you mean 'toys'?"),
        ("plugins=3", "plugins: must be a list, not 3"),
    ],
)
def test_a_wrong_value_is_one_problem_at_its_dotted_key(override: str, problem: str, toys: Host) -> None:
    assert problems(toys, override) == [problem]


def test_all_problems_are_reported_at_once(toys: Host) -> None:
    found = problems(
        toys,
        "chain.steps=0",
        "chain.stps=3",
        "chain.operator.noise=-1",
        "chain.operator.network.hidden=[0.5]",
        "train.update=never",
        "data.n=0",
    )
    assert sorted(problem.partition(":")[0] for problem in found) == [
        "chain.operator.network.hidden.0",
        "chain.operator.noise",
        "chain.steps",
        "chain.stps",
        "data.n",
        "data.valid",
        "train.update",
    ]


def test_missing_tables_are_named_with_what_they_are(toys: Host) -> None:
    found = problems(toys, text="[chain]\nsteps = 3")
    assert found == [
        "data: is missing: a dataset",
        "chain.prior: is missing: a prior",
        "chain.operator: is missing: an operator",
        "process: is missing: a process",
        "objective: is missing: an objective",
        "train: is missing: a table",
    ]


def test_toml_errors_give_file_line_and_column(tmp_path: Path, toys: Host) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text('title = "a"\nseed = = 3\n')
    with pytest.raises(RecipeError) as error:
        read_recipe(path, toys.registry)
    assert str(error.value) == f"{path}, line 2, column 8: Invalid value"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff\xfe", "is not UTF-8 text"),
        (b"# " + b"x" * 300_000, "is larger than 256 KiB"),
        (b"a = " + b"[" * 100_000, "is nested deeper than 32 levels"),
        (b"a = " + b"{x=" * 40 + b"1" + b"}" * 40, "is nested deeper than 32 levels"),
        (b".".join([b"x"] * 100) + b" = 1", "is nested deeper than 32 levels"),
        (b"seed = " + b"9" * 10_000, "integer"),
    ],
)
def test_files_that_are_no_recipe_give_one_line(content: bytes, words: str, tmp_path: Path, toys: Host) -> None:
    path = tmp_path / "odd.toml"
    path.write_bytes(content)
    with pytest.raises(RecipeError) as error:
        read_recipe(path, toys.registry)
    assert words in str(error.value)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_files_that_cannot_be_read_are_named(tmp_path: Path, toys: Host) -> None:
    for path in (tmp_path, tmp_path / "none.toml", tmp_path / "nul\0.toml"):
        with pytest.raises(RecipeError):
            read_recipe(path, toys.registry)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("chain.steps", "is not of the form key=value"),
        ("=3", "is not of the form key=value"),
        ("chain..steps=3", "is not of the form key=value"),
        ("chain.steps=[1,", "neither a TOML value nor a plain word"),
        ("chain.steps=1\nseed=2", "sets more than one key"),
        ("chain.steps.more=1", "chain.steps is a value, not a table"),
        ("evaluate.estimators.2.walks=1", "'2' is not an index of a list of 2"),
        ("evaluate.estimators.first=1", "'first' is not an index of a list of 2"),
    ],
)
def test_an_override_that_cannot_be_applied_says_why(override: str, words: str, toys: Host) -> None:
    [problem] = problems(toys, override)
    assert words in problem
    assert problem.startswith("--set ")


def test_overrides_reach_any_key_in_order(toys: Host) -> None:
    recipe = read(toys, "chain.steps=5", "chain.steps=6", "title=a plain word", "evaluate.estimators.1.walks=7", "sample.n=9")
    assert (recipe.chain.steps, recipe.title, recipe.evaluate.estimators[1].config.walks, recipe.sample.n) == (6, "a plain word", 7, 9)


def test_an_allow_list_is_honoured(toys: Host) -> None:
    assert read(toys, "plugins=['toys']").plugins == ["toys"]
    toys.add(type("Empty", (), {"chainkit_api": (1, 1)})(), "empty")
    found = problems(toys, "plugins=['empty']")
    assert (
        found[0]
        == "data.type: dataset 'points' comes from plugin toys of chainkit-toys 0.3, which the recipe's list of plugins does not allow"
    )


def test_a_resolved_recipe_writes_every_default_and_no_absent_key(toys: Host, tmp_path: Path) -> None:
    recipe = read(toys)
    tables = unstructure(recipe)
    assert tables["chain"]["operator"] == {
        "type": "step",
        "noise": 0.1,
        "network": {"type": "layers", "hidden": [4], "activation": "tanh"},
        "window": [1, 2],
        "mode": "auto",
    }
    assert "clip_norm" not in tables["train"]
    (tmp_path / "resolved.toml").write_text(resolved_text(recipe), encoding="utf-8")
    assert read_recipe(tmp_path / "resolved.toml", toys.registry) == recipe


def test_a_component_that_was_named_with_its_plugin_is_written_so(toys: Host) -> None:
    recipe = read(toys, "chain.operator.type=toys:step")
    assert unstructure(recipe)["chain"]["operator"]["type"] == "toys:step"
    assert read_recipe(resolved_text(recipe), toys.registry) == recipe


POSITIVE = st.floats(min_value=0, exclude_min=True, allow_infinity=False)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    noise=POSITIVE,
    hidden=st.lists(st.integers(min_value=1, max_value=2**63 - 1), max_size=3),
    window=st.tuples(st.integers(-(2**63), 2**63 - 1), st.integers(-5, 5)),
    mode=st.one_of(st.just("auto"), st.floats(allow_nan=False, allow_infinity=False)),
    rate=st.none() | POSITIVE,
    title=st.text(st.characters(exclude_categories=["Cs"])),
)
def test_reading_what_was_written_gives_an_equal_recipe(
    toys: Host, noise: float, hidden: list[int], window: tuple[int, int], mode: str | float, rate: float | None, title: str
) -> None:
    import tomllib

    import tomli_w

    tables = tomllib.loads(TEXT)
    tables["title"] = title
    tables["chain"]["operator"] |= {"noise": noise, "network": {"type": "layers", "hidden": hidden}, "window": list(window), "mode": mode}
    if rate is not None:
        tables["chain"]["operator"]["rate"] = {"type": "constant", "value": rate}
    recipe = read_recipe(tomli_w.dumps(tables), toys.registry)
    assert recipe.chain.operator.config.noise == noise
    assert recipe.title == title
    again = read_recipe(resolved_text(recipe), toys.registry)
    assert again == recipe
    assert resolved_text(again) == resolved_text(recipe)
