"""The commands that compute: ``run``, ``resume``, ``sample`` and ``evaluate``."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import click

from chainkit.cli.progress import TerminalReporter
from chainkit.cli.summary import evaluation_lines, summary_lines
from chainkit.component import Part
from chainkit.errors import RecipeError
from chainkit.evaluation import to_json
from chainkit.host import Host
from chainkit.interrupt import handling_signals
from chainkit.recipe import find_recipe
from chainkit.run import Run, open_run, prepare_run
from chainkit.run_directory import RunDirectory, fresh_path
from chainkit.session import Session, new_run

RUN = click.argument("run", type=click.Path(path_type=Path))
DEVICE = click.option("--device", help="Where to compute: auto, cpu, cuda or cuda:N; as the recipe says unless given.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print figures as JSON.")


@click.command("run")
@click.argument("recipe")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Replace a key of the recipe, e.g. chain.steps=10.")
@click.option("--out", type=click.Path(path_type=Path), help="The run directory; runs/NAME, numbered, unless given.")
@DEVICE
@JSON
@click.pass_obj
def run(host: Host, recipe: str, overrides: tuple[str, ...], out: Path | None, device: str | None, as_json: bool) -> None:
    """Train RECIPE (a file, or the name of a shipped recipe), then sample and evaluate."""
    path = find_recipe(recipe, host)
    changes = [*overrides, *([f'device="{device}"'] if device else [])]
    reporter = TerminalReporter()
    with handling_signals():
        started = new_run(path, out or fresh_path(Path("runs"), path.stem), host, overrides=changes, reporter=reporter)
        _introduce(started)
        _complete(started, as_json)


@click.command("resume")
@RUN
@DEVICE
@JSON
@click.pass_obj
def resume(host: Host, run: Path, device: str | None, as_json: bool) -> None:
    """Continue the run in directory RUN from its newest sound checkpoint."""
    with handling_signals():
        found = prepare_run(RunDirectory(run), host, TerminalReporter(), device)
        if found.restore():
            found.say(f"resuming {run} at update {found.update} of {found.trainer.total_updates}")
        else:
            found.say(f"{run} has no checkpoint yet; starting at the beginning")
        _complete(found, as_json)


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
    import numpy

    if out is not None and out.exists():
        raise RecipeError(f"{out}: exists")
    with handling_signals():
        opened = open_run(run, host=host, reporter=TerminalReporter(), device=device)
        with opened.directory.locked():
            try:
                samples = opened.sample(count, steps=steps, seed=seed)
            except ValueError as error:
                raise RecipeError(f"--steps: {error}") from error
            opened.host.call("chainkit_samples", run=opened, samples=samples)
        if out is not None:
            numpy.save(out, samples.state.float().numpy())
        opened.say(f"{len(samples.state)} samples of {samples.steps} steps; pictures in {opened.path / 'pictures'}")


@click.command("evaluate")
@RUN
@click.option("--estimator", "names", multiple=True, help="Name of an estimator; those of the recipe unless given.")
@click.option("--split", type=click.Choice(["train", "valid", "test"]), help="The recipe's unless given.")
@click.option("--examples", type=click.IntRange(min=1), help="How many examples; the recipe's number unless given.")
@click.option("--walks", type=click.IntRange(min=1), help="Walks per example, for estimators that walk.")
@click.option("--seed", type=click.IntRange(min=0), help="Seed of the choice of examples and of all draws.")
@DEVICE
@JSON
@click.pass_obj
def evaluate(
    host: Host,
    run: Path,
    names: tuple[str, ...],
    split: str | None,
    examples: int | None,
    walks: int | None,
    seed: int | None,
    device: str | None,
    as_json: bool,
) -> None:
    """Estimate figures of the run in directory RUN."""
    with handling_signals():
        opened = open_run(run, host=host, reporter=TerminalReporter(), device=device)
        estimators = _estimators(opened, names, walks)
        with opened.directory.locked():
            figures = opened.evaluate(estimators, split=split, examples=examples, seed=seed)
    if as_json:
        click.echo(json.dumps([to_json(figure, opened.weights) for figure in figures], indent=1))
    else:
        click.echo("\n".join(evaluation_lines(figures, opened.weights)))


def _estimators(run: Run, names: tuple[str, ...], walks: int | None) -> list[Part]:
    """The estimators asked for, with the settings of the recipe where it names them."""
    own = {part.name: part for part in run.recipe.evaluate.estimators}
    parts = [own.get(name) or run.host.part("estimator", name) for name in names] if names else list(own.values())
    if walks is None:
        return parts
    return [attrs.evolve(part, config=attrs.evolve(part.config, walks=walks)) if _walks(part) else part for part in parts]


def _walks(part: Part) -> bool:
    return "walks" in attrs.fields_dict(type(part.config))


def _introduce(run: Run) -> None:
    parameters = sum(parameter.numel() for parameter in run.model.parameters())
    run.say(f"{run.recipe.title or run.path.name}")
    run.say(
        f"data {run.data.name}, {len(run.data.split('train'))} training examples of shape {'x'.join(map(str, run.data.shape))}, "
        f"{run.data.preparation.words}; {run.chain.steps} steps, {parameters:,} parameters, on {run.device}"
    )


def _complete(run: Run, as_json: bool) -> None:
    session = Session(run)
    figures = session.complete()
    if as_json:
        click.echo(json.dumps({"run": str(run.path), "figures": [to_json(figure, run.weights) for figure in figures]}, indent=1))
    else:
        click.echo("\n".join(summary_lines(run, figures)))
