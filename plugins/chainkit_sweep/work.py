"""What ``chainkit sweep`` does. It does not import torch; the runs do, in processes of their own."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

import click

from chainkit.cli.output import columns, emit, say
from chainkit.errors import ChainkitError, CheckpointError, RecipeError
from chainkit.evaluation import words
from chainkit.files import locked, write_text
from chainkit.host import Host
from chainkit.interrupt import handling_signals
from chainkit.packages import imported
from chainkit.recipe import find_recipe
from chainkit.registry import suggest
from chainkit_sweep import plan, tables
from chainkit_sweep.grid import Point, read_axis
from chainkit_sweep.jobs import Job, run_jobs
from chainkit_sweep.plan import Sweep, check_folder, first_seed, make_sweep, shell_line
from chainkit_sweep.results import Swept, collected


class RunsFailed(ChainkitError):
    """Runs of a sweep that failed; the exit code is that of the first.

    Arguments:
        failed: Their exit codes, by name.
    """

    def __init__(self, failed: dict[str, int]) -> None:
        super().__init__(f"{len(failed)} run{'s' * (len(failed) != 1)} failed: {', '.join(failed)}; the same command tries again")
        self.exit_code = next(iter(failed.values()))


def asked(host: Host, recipe: str, grid: Sequence[str], overrides: Sequence[str], seeds: int, out: Path | None) -> Sweep:
    """The sweep that a command line asks for, its recipe checked at every setting.

    Arguments:
        host: The loaded plugins.
        recipe: A file, or the name of a shipped recipe.
        grid: Axes, ``KEY=V1,V2,...``.
        overrides: ``key=value`` settings of every point.
        seeds: How many training seeds.
        out: The directory; ``runs/RECIPE-sweep`` if None.

    Raises:
        RecipeError: The recipe cannot be used somewhere on the grid, or the directory holds another sweep.
    """
    path, axes = find_recipe(recipe, host), [read_axis(text) for text in grid]
    folder = out or Path("runs") / f"{path.stem}-sweep"
    unseeded = make_sweep(recipe, path, overrides, axes, (), folder)
    first = first_seed(path, host.registry, overrides, axes)
    made = make_sweep(recipe, path, overrides, axes, range(first, first + seeds), unseeded.folder)
    check_folder(made)
    return made


def print_plan(sweep: Sweep, as_json: bool) -> None:
    """Prints the commands of all that is not finished, for a shell or a job scheduler.

    Arguments:
        sweep: The sweep.
        as_json: Whether to print every point, with its state.
    """
    left = [point for point in sweep.points if sweep.state(point) != "finished"]
    if as_json:
        emit(plan.as_json(sweep))
    else:
        click.echo("".join(f"{shell_line(sweep.command(point))}\n" for point in left), nl=False)
    say(f"{len(left)} of {len(sweep.points)} runs to do; afterwards the same command without --plan writes the tables")


def sweep(sweep: Sweep, jobs: int, figure: str | None, as_json: bool) -> None:
    """Runs what is not finished, and writes tables and a picture of all figures that there are by then.

    Arguments:
        sweep: The sweep.
        jobs: How many runs at a time.
        figure: The label of the figure to print and draw; the first one if None.
        as_json: Whether to print the results as JSON.

    Raises:
        RunsFailed: Some runs failed; all others were finished.
        Interrupted: A signal asked to stop; the same command continues.
        RunBusyError: Another process works on this sweep.
    """
    imported("matplotlib.figure", "pip install matplotlib")
    sweep.folder.mkdir(parents=True, exist_ok=True)
    with handling_signals(), locked(sweep.folder):
        sweep.write()
        watch = Watch(sweep)
        try:
            run_jobs(watch.jobs, jobs, watch.ended)
        finally:
            _conclude(sweep, watch.failed, figure, as_json)
    if watch.failed:
        raise RunsFailed(watch.failed)


class Watch:
    """The jobs of a sweep, and what is said while they run.

    Arguments:
        sweep: The sweep.

    Attributes:
        jobs: One for each point that is not finished.
        failed: Exit codes of those that failed, by name.
    """

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep
        self.points = {point.name: point for point in sweep.points}
        self.jobs = [self._job(point) for point in sweep.points if sweep.state(point) != "finished"]
        self.failed: dict[str, int] = {}
        self._ended, self._began = 0, time.monotonic()
        say(f"{len(self.points)} runs in {sweep.folder}, {len(self.points) - len(self.jobs)} of them finished already")

    def _job(self, point: Point) -> Job:
        return Job(name=point.name, words=self.sweep.command(point), log=self.sweep.folder / "logs" / f"{point.name}.txt")

    def ended(self, job: Job, code: int) -> None:
        """Says what became of a job, and about how long the others will take.

        Arguments:
            job: The job.
            code: Its exit code.
        """
        self._ended += 1
        left = (time.monotonic() - self._began) / self._ended * (len(self.jobs) - self._ended)
        if code:
            self.failed[job.name] = code
        became = f"failed with exit code {code}: {_last_line(job.log)} (all of it in {job.log})" if code else self._found(job)
        say(f"[{self._ended}/{len(self.jobs)}] {job.name}: {became}; {left:.0f} s left")

    def _found(self, job: Job) -> str:
        try:
            record = self.sweep.record(self.points[job.name])
        except CheckpointError as error:
            return str(error)
        figures = record.figures if record else ()
        return f"{figures[0].estimate.name} {words(figures[0].estimate)}" if figures else "no figures"


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "it said nothing")


def _conclude(sweep: Sweep, failed: dict[str, int], figure: str | None, as_json: bool) -> None:
    """Writes the tables and the picture, and prints the main figure."""
    from chainkit_sweep.drawing import drawn

    figures = collected(sweep)
    results = tables.as_json(sweep, figures, failed)
    write_text(sweep.folder / "results.json", json.dumps(results, indent=1) + "\n")
    write_text(sweep.folder / "results.csv", tables.as_csv(sweep, figures))
    write_text(sweep.folder / "results.md", tables.as_markdown(sweep, figures))
    main = _main(figures, figure)
    picture = main and drawn(sweep, main)
    if picture:
        picture.save(sweep.folder / "results.png")
    if as_json:
        emit(results)
    elif main:
        click.echo("\n".join(columns(tables.lines(sweep, main))))
    say(f"tables of {len(figures)} figures in {sweep.folder}: results.md, results.csv, results.json{', results.png' if picture else ''}")


def _main(figures: Sequence[Swept], label: str | None) -> Swept | None:
    """The figure that is printed and drawn."""
    labels = [figure.label for figure in figures]
    if label is not None and figures and label not in labels:
        raise RecipeError(f"--figure {label}: there is no such figure{suggest(label, labels)}")
    return next((figure for figure in figures if label in (None, figure.label)), None)
