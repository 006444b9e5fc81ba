"""What the commands that compute do. Their definitions are in :mod:`chainkit.cli.run`, which does not import torch."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import attrs
import click
import numpy
from torch import Tensor

from chainkit.cli.output import show
from chainkit.cli.progress import TerminalReporter
from chainkit.cli.summary import evaluation_lines, summary_lines
from chainkit.component import Part
from chainkit.distributed import current, joined, lead
from chainkit.errors import Interrupted, RecipeError
from chainkit.evaluation import to_json
from chainkit.files import write_file
from chainkit.host import Host
from chainkit.interrupt import handling_signals
from chainkit.opening import open_run, prepare_run
from chainkit.recipe import Recipe, check_recipe
from chainkit.recipe.override import read_value
from chainkit.recipe.read import read_part
from chainkit.reporting import Reporter, Silent
from chainkit.run import SHOWN_STATES, Run
from chainkit.run_directory import RunDirectory
from chainkit.session import Session, new_run
from chainkit.states import State, tensors


@contextmanager
def _computing() -> Iterator[Reporter]:
    """With the other processes, if a launcher has started more; one of them speaks, and all stop together."""
    with joined() as group, handling_signals(insisting=group.size == 1):
        yield TerminalReporter() if group.leads else Silent()


def start(host: Host, recipe: Path, out: Path | None, overrides: Sequence[str], as_json: bool) -> None:
    """``chainkit run``.

    Arguments:
        host: The loaded plugins.
        recipe: The recipe's file.
        out: The run directory; ``runs/NAME``, numbered, if None.
        overrides: ``key=value`` settings that replace those of the recipe.
        as_json: Whether to print figures as JSON.
    """
    with _computing() as reporter:
        _complete(new_run(recipe, out, host, overrides=overrides, reporter=reporter), as_json)


def resume(host: Host, path: Path, device: str | None, as_json: bool) -> None:
    """``chainkit resume``; the arguments are those of the command."""
    with _computing() as reporter:
        _complete(prepare_run(RunDirectory(path), host, reporter, device), as_json)


def _complete(run: Run, as_json: bool) -> None:
    _introduce(run)
    with _before_failing(run, lambda: _conclude(run, evaluation_lines(run.figures, run.weights), as_json)):
        Session(run).complete()
    lead(lambda: _conclude(run, summary_lines(run, run.figures), as_json))


def _conclude(run: Run, lines: Sequence[str], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"run": str(run.path), "figures": [to_json(figure, run.weights) for figure in run.figures]}, indent=1))
    else:
        show(lines)


@contextmanager
def _before_failing(run: Run, show_figures: Callable[[], None]) -> Iterator[None]:
    """Shows the figures that there are by then where what is inside fails; an evaluation that was stopped shows them in the end."""
    try:
        yield
    except Exception as error:
        if run.figures and current().leads and not isinstance(error, Interrupted):
            show_figures()
        raise


def _introduce(run: Run) -> None:
    parameters = sum(parameter.numel() for parameter in run.model.parameters())
    run.say(f"{run.recipe.title or run.path.name}")
    run.say(
        f"data {run.data.name}, {len(run.data.split('train'))} training examples of shape {'x'.join(map(str, run.data.shape))}, "
        f"{run.data.preparation.words}; {run.chain.steps} steps, {parameters:,} parameters, on {run.device}"
    )


def sample(host: Host, path: Path, count: int | None, steps: int | None, seed: int, out: Path | None, device: str | None) -> None:
    """``chainkit sample``; the arguments are those of the command."""
    if out is not None and out.exists():
        raise RecipeError(f"{out}: exists")
    with _computing() as reporter:
        run = open_run(path, host=host, reporter=reporter, device=device)
        if steps is not None:
            run.check_steps(steps, "--steps")
        with run.held():
            lead(lambda: _draw(run, count, steps, seed, out))


def _draw(run: Run, count: int | None, steps: int | None, seed: int, out: Path | None) -> None:
    samples = run.sample(count, steps=steps, seed=seed, keep_path=SHOWN_STATES)
    state = _like_data(samples.state, run.data.shape)
    run.tell("chainkit_samples", samples=samples)
    if out is not None:
        content = io.BytesIO()
        numpy.save(content, state.float().numpy())
        write_file(out, content.getvalue())
    run.say(f"{len(state)} samples of {samples.steps} steps; pictures in {run.path / 'pictures'}")


def _like_data(state: State, shape: tuple[int, ...]) -> Tensor:
    """The state, or of several tensors the one of the shape of an example, the first if there is none."""
    return min(tensors(state), key=lambda tensor: tuple(tensor.shape[1:]) != shape)


@attrs.frozen(kw_only=True)
class Asked:
    """What ``chainkit evaluate`` was asked for, each None (or empty) where the recipe decides.

    Arguments:
        estimators: Names of estimators, or tables as recipes have them.
        split: Which split.
        examples: How many examples of it.
        seed: Seed of the choice of examples and of all draws.
        settings: Settings of every estimator that has them, such as ``walks``, by key.
    """

    estimators: tuple[str, ...]
    split: str | None
    examples: int | None
    seed: int | None
    settings: Mapping[str, int]


def evaluate(host: Host, path: Path, asked: Asked, device: str | None, as_json: bool) -> None:
    """``chainkit evaluate``.

    Arguments:
        host: The loaded plugins.
        path: The run directory.
        asked: What to estimate.
        device: Where to compute; as the recipe says if None.
        as_json: Whether to print figures as JSON.
    """
    with _computing() as reporter:
        run = open_run(path, host=host, reporter=reporter, device=device)
        estimators = [with_settings(part, asked.settings) for part in _estimators(run, asked.estimators)]
        _require_fitting(run.recipe, estimators)
        with _before_failing(run, lambda: _show(run, as_json)), run.held():
            figures = run.evaluate(estimators, split=asked.split, examples=asked.examples, seed=asked.seed)
            run.tell("chainkit_estimates", estimates=figures)
        lead(lambda: _show(run, as_json))


def _show(run: Run, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([to_json(figure, run.weights) for figure in run.figures], indent=1))
    else:
        show(evaluation_lines(run.figures, run.weights))


def _estimators(run: Run, asked: Sequence[str]) -> list[Part]:
    """The estimators asked for; names stand for those of the recipe where it has them."""
    given = run.recipe.evaluate.estimators
    own = {part.name: part for part in given}
    return [own.get(text) or _estimator(run.host, text) for text in asked] if asked else list(given)


def _require_fitting(recipe: Recipe, estimators: list[Part]) -> None:
    """Refuses estimators that need what the parts of the run's recipe do not give."""
    if problems := check_recipe(attrs.evolve(recipe, evaluate=attrs.evolve(recipe.evaluate, estimators=estimators))):
        raise RecipeError(*problems)


def _estimator(host: Host, text: str) -> Part:
    """An estimator from a name or a TOML table."""
    try:
        value = read_value(text)
    except ValueError as error:
        raise RecipeError(f"--estimator: {error}") from None
    table = value if isinstance(value, dict) else {"type": value}
    return read_part("estimator", table, host.registry, "--estimator")


def with_settings(part: Part, settings: Mapping[str, int]) -> Part:
    """A part with other settings, where it or a part inside it has such keys.

    Arguments:
        part: The part.
        settings: The settings, by key.
    """
    present = {field.name: getattr(part.config, field.name) for field in attrs.fields(type(part.config))}
    own = {key: value for key, value in settings.items() if key in present}
    inner = {key: with_settings(value, settings) for key, value in present.items() if isinstance(value, Part)}
    return attrs.evolve(part, config=attrs.evolve(part.config, **own, **inner))
