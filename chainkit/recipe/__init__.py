"""Recipes: TOML files that choose components and set them, read strictly and completely.

A recipe is data. It names registered components and never an import path, so that reading one can
run nothing but the checks of config classes. Nothing here imports torch.
"""

from chainkit.recipe.check import check_recipe
from chainkit.recipe.find import ShippedRecipe, find_recipe, shipped_recipes
from chainkit.recipe.read import read_part, read_recipe
from chainkit.recipe.schema import Recipe
from chainkit.recipe.write import resolved_text, unstructure

__all__ = [
    "Recipe",
    "ShippedRecipe",
    "check_recipe",
    "find_recipe",
    "read_part",
    "read_recipe",
    "resolved_text",
    "shipped_recipes",
    "unstructure",
]
