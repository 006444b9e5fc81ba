"""What the documentation takes from the code is what the code says."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from chainkit.host import load_plugins
from chainkit.recipe import read_recipe, shipped_recipes
from chainkit.recipe.parts import parts

ROOT = Path(__file__).parents[2]
HOST = load_plugins(strict=True)


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATE = generator()


@pytest.mark.parametrize("name", GENERATE.GENERATED)
def test_generated_part_is_up_to_date(name: str) -> None:
    file, give = GENERATE.GENERATED[name]
    text = (ROOT / file).read_text(encoding="utf-8")
    assert text == GENERATE.inserted(text, name, give(HOST)), f"{file} is stale: run python docs/generate.py"


def test_readme_has_a_row_for_every_recipe() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    names = [path.stem for path in sorted((ROOT / "recipes").glob("*.toml"))]
    assert names == [recipe.name for recipe in shipped_recipes(HOST) if not recipe.provider]
    assert [line.partition("]")[0] for line in text.splitlines() if "](recipes/" in line] == [f"| [{name}" for name in names]


def test_recipes_are_said_to_need_no_download_only_where_their_data_ships() -> None:
    rows = [line.split(" | ") for line in GENERATE.recipe_table(HOST).splitlines()[2:]]
    downloads = {row[0].partition("]")[0].lstrip("| ["): row[-1].rstrip(" |") for row in rows}
    for recipe in shipped_recipes(HOST):
        *_, data = (part for part in parts(read_recipe(recipe.path, HOST.registry).data) if part.kind == "dataset")
        [plugin] = {entry.plugin.id for entry in HOST.registry.entries("dataset") if entry.component is data.component}
        assert (downloads[recipe.name] == "no") == (plugin == "datasets"), recipe.name


def test_every_shipped_component_has_a_section() -> None:
    text = (ROOT / "docs" / "components.md").read_text(encoding="utf-8")
    sections = [line.removeprefix("### ") for line in text.splitlines() if line.startswith("### ")]
    shipped = [entry for entry in HOST.registry.entries() if entry.plugin.distribution == "chainkit"]
    assert sections == [f"{entry.kind}:{entry.component.name}" for entry in shipped]
    assert {section.partition(":")[0] for section in sections} == set(HOST.registry.kinds())


def test_recipe_of_the_page_on_recipes_is_in_order() -> None:
    _, _, rest = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8").partition('```toml title="recipe"\n')
    recipe = read_recipe(rest.partition("```")[0], HOST.registry)
    assert recipe.process.config.rate.name == "increasing"
    assert recipe.chain.operator.config.network.config.norm == "per-step"


def test_a_place_that_is_missing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no place for 'components'"):
        GENERATE.inserted("nothing", "components", "")
