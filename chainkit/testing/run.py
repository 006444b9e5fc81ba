"""A whole run, in a moment: a recipe read, trained for two updates, sampled from and evaluated."""

from __future__ import annotations

from pathlib import Path

from chainkit.host import Host, load_plugins
from chainkit.reporting import Reporter
from chainkit.run import Run
from chainkit.session import Session, new_run
from chainkit.testing.parts import TinyParts

TINY_RECIPE = """
title = "A tiny run"
device = "cpu"
data = { type = "tiny" }
chain = { steps = 3, prior = { type = "tiny" }, operator = { type = "tiny" } }
process = { type = "tiny" }
objective = { type = "tiny" }
train = { batch_size = 16, max_updates = 2, optimizer = { type = "tiny" } }
sample = { n = 6 }
evaluate = { examples = 12, estimators = [{ type = "tiny" }] }
"""


class Quiet(Reporter):
    """Keeps what is said.

    Attributes:
        lines: The lines.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def tiny_host(**plugins: object) -> Host:
    """All installed plugins, the parts of :data:`TINY_RECIPE`, and others; trouble with one is an error.

    Arguments:
        plugins: Objects or modules to load as plugins, by name.
    """
    host = load_plugins(strict=True)
    for name, plugin in {"tiny": TinyParts(), **plugins}.items():
        host.add(plugin, name, distribution="tests")
    return host


def tiny_run(folder: Path, text: str = TINY_RECIPE, *overrides: str, host: Host | None = None) -> Run:
    """Takes a recipe from its text to the end of its run.

    Arguments:
        folder: Where ``recipe.toml`` is written, and ``run``, the run directory, is made.
        text: The recipe.
        overrides: ``key=value`` settings that replace those of the recipe.
        host: The plugins; those of :func:`tiny_host` unless given.

    Returns:
        The run, trained; ``evaluation.json`` and pictures lie in ``run.path``.
    """
    recipe = folder / "recipe.toml"
    recipe.write_text(text, encoding="utf-8")
    run = new_run(recipe, folder / "run", host or tiny_host(), overrides=overrides, reporter=Quiet())
    Session(run).complete()
    return run
