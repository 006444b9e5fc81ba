"""What a new plugin is called, in each of the places that name it."""

from __future__ import annotations

import re
from importlib.util import find_spec

import attrs

from chainkit.errors import RecipeError
from chainkit.host import Host
from chainkit.recipe import shipped_recipes

LEGAL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,38}[A-Za-z0-9])?")
PREFIX = "chainkit-"
TAKEN = ("chainkit", "tiny")
"""chainkit itself, and the plugin that the testing kit adds to those installed."""


@attrs.frozen
class Names:
    """The names of one plugin.

    Arguments:
        plugin: Name of its entry point: a-z, 0-9 and dashes.
    """

    plugin: str

    @classmethod
    def of(cls, name: str) -> Names:
        """The names that follow from one of them, with or without ``chainkit-`` in front.

        Arguments:
            name: Letters, digits, and between them dots, dashes and underscores; 40 characters at most.

        Raises:
            RecipeError: It is no such name, or chainkit uses it itself.
        """
        if not LEGAL.fullmatch(name):
            raise RecipeError(
                f"{name!r}: a name is made of the letters a-z, digits, and single dots, dashes or underscores between them, 40 in all"
            )
        plugin = re.sub(r"[._-]+", "-", name).lower().removeprefix(PREFIX)
        if plugin in TAKEN:
            raise RecipeError(f"{name!r}: chainkit uses this name itself")
        return cls(plugin)

    @property
    def distribution(self) -> str:
        """What is installed, and the folder that it is written into."""
        return PREFIX + self.plugin

    @property
    def package(self) -> str:
        """What is imported."""
        return self.distribution.replace("-", "_")

    @property
    def recipe(self) -> str:
        """The recipe."""
        return f"{self.plugin.replace('-', '_')}_digits"

    def fill(self, text: str) -> str:
        """The text of a template, or the path of one, with these names instead of the placeholders."""
        for placeholder, name in (
            ("chainkit_placeholder", self.package),
            ("placeholder_digits", self.recipe),
            ("placeholder", self.plugin),
        ):
            text = text.replace(placeholder, name)
        return text


def check_free(names: Names, host: Host) -> None:
    """Makes sure that nothing that is installed has these names.

    Arguments:
        names: The names.
        host: The loaded plugins.

    Raises:
        RecipeError: Something has; the message says what.
    """
    for plugin in host.plugins:
        if plugin.answers_to(names.plugin) or plugin.distribution == names.distribution:
            raise RecipeError(f"{names.plugin}: {plugin} is installed already; choose another name")
    for recipe in shipped_recipes(host):
        if recipe.name == names.recipe:
            raise RecipeError(f"{names.plugin}: there is a recipe {names.recipe} already ({recipe.path}); choose another name")
    if find_spec(names.package) is not None:
        raise RecipeError(f"{names.plugin}: there is a package {names.package} already; choose another name")
