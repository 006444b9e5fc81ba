"""``chainkit report`` and ``chainkit compare``; neither imports torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import click

from chainkit.cli import complete
from chainkit.cli.output import as_json, columns, emit, say, show
from chainkit.cli.run import RUN
from chainkit.comparison import Comparison, Entry, Setting, compare
from chainkit.errors import RecipeError
from chainkit.evaluation import to_json, words
from chainkit.files import write_text
from chainkit.run_record import Figure, read_record
from chainkit_report.comparison_page import comparison_page
from chainkit_report.run_page import run_page
from chainkit_report.tables import of, text

WIDEST = 60
"""Letters of a value that the terminal is given; JSON and pages have all."""


@click.command("report")
@RUN
@click.option("--out", type=click.Path(path_type=Path), help="A new file for the page; RUN/report.html, written anew, unless given.")
def report(run: Path, out: Path | None) -> None:
    """Write a page about the run in directory RUN: pictures, figures, settings, versions, how to repeat it.

    The page is one HTML file, with the pictures inside, that loads nothing from anywhere.
    """
    _write(run / "report.html" if out is None else _new(out), run_page(read_record(run)))


@click.command("compare")
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN...", type=click.Path(path_type=Path), shell_complete=complete.runs)
@click.option("--page", type=click.Path(path_type=Path), help="Also write the comparison as a page, to this new file.")
@as_json
def compare_runs(runs: tuple[Path, ...], page: Path | None, as_json: bool) -> None:
    """Put the runs in directories RUN beside each other: settings that differ, and all figures.

    The highest likelihood, or the lowest distance, is marked as best where it is apart from all others of the same quantity
    by more than the joint standard error. Figures of differently prepared data are not ranked.
    """
    comparison = compare([read_record(run) for run in runs])
    if page is not None:
        _write(_new(page), comparison_page(comparison))
    if as_json:
        emit(_record(comparison))
    else:
        show(_lines(comparison))


def _new(path: Path) -> Path:
    if path.exists():
        raise RecipeError(f"{path}: exists")
    return path


def _write(path: Path, content: str) -> None:
    write_text(path, content)
    say(f"the page is in {path}")


def _lines(comparison: Comparison) -> Iterator[str]:
    for title, settings in (("settings that differ", comparison.settings), ("versions that differ", comparison.environment)):
        if settings:
            yield from [title, *_indented([("key", *comparison.names), *map(_setting, settings)]), ""]
    if comparison.entries:
        yield from ["figures", *_indented([("figure", "run", "rank", "value", "of"), *[_entry(e, comparison) for e in comparison.entries]])]
    yield from comparison.refusals


def _indented(rows: list[tuple[str, ...]]) -> list[str]:
    return [f"  {line}" for line in columns(rows)]


def _setting(setting: Setting) -> tuple[str, ...]:
    values = map(text, setting.values)
    return setting.key, *[value if len(value) <= WIDEST else f"{value[: WIDEST - 3]}..." for value in values]


def _entry(entry: Entry, comparison: Comparison) -> tuple[str, ...]:
    estimate = entry.figure.estimate
    return estimate.name, comparison.names[entry.run], entry.mark, words(attrs.evolve(estimate, beside={})), of(entry)


def _figure(figure: Figure) -> dict[str, Any]:
    return to_json(figure.estimate, figure.weights, figure.settings or None, figure.data)


def _record(comparison: Comparison) -> dict[str, Any]:
    """A comparison as JSON."""
    entries = [{"run": comparison.names[entry.run], "mark": entry.mark, **_figure(entry.figure)} for entry in comparison.entries]
    return {
        "runs": [{"name": name, "path": str(run.path)} for name, run in zip(comparison.names, comparison.runs, strict=True)],
        "settings": {setting.key: setting.values for setting in comparison.settings},
        "environment": {setting.key: setting.values for setting in comparison.environment},
        "figures": entries,
        "refusals": comparison.refusals,
    }
