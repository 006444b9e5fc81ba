"""The commands that compute: ``run``, ``resume``, ``sample`` and ``evaluate``.

They are defined here without torch, so that their help, wrong usage and wrong recipes are quick;
:mod:`chainkit.cli.work` does what they are asked for.
"""

from __future__ import annotations

from pathlib import Path

import click

from chainkit.cli import complete
from chainkit.cli.options import RECIPE, SET
from chainkit.host import Host
from chainkit.recipe import find_recipe, read_recipe

RUN = click.argument("run", type=click.Path(path_type=Path), shell_complete=complete.runs)
DEVICE = click.option("--device", help="Where to compute: auto, cpu, cuda or cuda:N; as the recipe says unless given.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print figures as JSON.")


@click.command("run")
@RECIPE
@SET
@click.option("--out", type=click.Path(path_type=Path), help="The run directory; runs/NAME, numbered, unless given.")
@DEVICE
@JSON
@click.pass_obj
def run(host: Host, recipe: str, overrides: tuple[str, ...], out: Path | None, device: str | None, as_json: bool) -> None:
    """Train RECIPE (a file, or the name of a shipped recipe), then sample and evaluate."""
    path = find_recipe(recipe, host)
    changes = [*overrides, *([f'device="{device}"'] if device else [])]
    read_recipe(path, host.registry, changes)
    from chainkit.cli import work

    work.start(host, path, out, changes, as_json)


@click.command("resume")
@RUN
@DEVICE
@JSON
@click.pass_obj
def resume(host: Host, run: Path, device: str | None, as_json: bool) -> None:
    """Continue the run in directory RUN from its newest sound checkpoint, or finish sampling and evaluating it."""
    from chainkit.cli import work

    work.resume(host, run, device, as_json)


@click.command("sample")
@RUN
@click.option("-n", "count", type=click.IntRange(min=1), help="How many samples; the recipe's number unless given.")
@click.option("--steps", type=click.IntRange(min=1), help="Number of sampling steps; the recipe's unless given.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the draws.")
@click.option("--out", type=click.Path(path_type=Path), help="Also write the samples to this new .npy file.")
@DEVICE
@click.pass_obj
def sample(host: Host, run: Path, count: int | None, steps: int | None, seed: int, out: Path | None, device: str | None) -> None:
    """Draw samples from the run in directory RUN and draw their pictures."""
    from chainkit.cli import work

    work.sample(host, run, count, steps, seed, out, device)


@click.command("evaluate")
@RUN
@click.option("--estimator", "estimators", multiple=True, help="A name or a TOML table; repeatable; those of the recipe unless given.")
@click.option("--split", type=click.Choice(["train", "valid", "test"]), help="The recipe's unless given.")
@click.option("--examples", type=click.IntRange(min=1), help="How many examples; the recipe's number unless given.")
@click.option("--walks", type=click.IntRange(min=1), help="Walks per example, for estimators that walk.")
@click.option("--max-rows", type=click.IntRange(min=1), help="Walks or examples held in memory at once; no figure depends on it.")
@click.option("--seed", type=click.IntRange(min=0), help="Seed of the choice of examples and of all draws.")
@DEVICE
@JSON
@click.pass_obj
def evaluate(
    host: Host,
    run: Path,
    estimators: tuple[str, ...],
    split: str | None,
    examples: int | None,
    walks: int | None,
    max_rows: int | None,
    seed: int | None,
    device: str | None,
    as_json: bool,
) -> None:
    """Estimate figures of the run in directory RUN; stopped, the same command continues."""
    from chainkit.cli import work

    settings = {key: value for key, value in {"walks": walks, "max_rows": max_rows}.items() if value is not None}
    asked = work.Asked(estimators=estimators, split=split, examples=examples, seed=seed, settings=settings)
    work.evaluate(host, run, asked, device, as_json)
