"""Tables: figures with units and errors, settings, and what was logged."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from chainkit.comparison import Comparison, Entry, Setting
from chainkit.estimator import Estimate
from chainkit.evaluation import number
from chainkit.logged import ERROR, metric_names
from chainkit.run_record import Figure
from chainkit_report.html import Html, element, joined, listed

NONE = "–"

Basis: TypeAlias = tuple[int, str, int, str, str]


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> Html:
    """A table whose first column heads its rows; it scrolls where the screen is narrow, also by keyboard.

    Arguments:
        caption: What it shows.
        head: Heads of the columns.
        rows: The cells of each row, text or markup.
    """
    top = element("tr", *[element("th", cell, scope="col") for cell in head])
    body = [element("tr", element("th", first, scope="row"), *[element("td", cell) for cell in cells]) for first, *cells in rows]
    whole = element("table", element("caption", caption), element("thead", top), element("tbody", *body))
    return element("div", whole, class_="scroll", role="region", aria_label=caption, tabindex=0)


def exact(value: float, shown: str | None = None) -> Html:
    """A number as it is read, with all of its digits for programs."""
    return element("data", shown or number(value), value=repr(value))


def optional(value: float | None) -> str:
    """A number, or a dash where there is none."""
    return NONE if value is None else exact(value)


def basis(figure: Figure) -> Basis:
    """What figures of one table have in common: number and split of the examples, seed, preparation, weights."""
    estimate = figure.estimate
    return estimate.examples, estimate.split, estimate.seed, estimate.preparation, figure.weights


def grounds(figures: Iterable[Figure]) -> dict[Basis, list[Estimate]]:
    """Figures by what they are about."""
    groups: dict[Basis, list[Estimate]] = {}
    for figure in figures:
        groups.setdefault(basis(figure), []).append(figure.estimate)
    return groups


def evaluation(figures: Iterable[Figure]) -> Html:
    """The figures of a run: one table for each choice of examples, preparation and weights.

    Arguments:
        figures: The figures.
    """
    head = (
        "Figure",
        "Value",
        "± over examples",
        "± over walks",
        "Bits per dimension",
        "Effective sample size",
        "Walks",
        "Beside it, and notes",
    )
    tables = []
    for (examples, split, seed, preparation, weights), estimates in grounds(figures).items():
        caption = f"On {examples} {split} examples, {weights}, seed {seed}. Data: {preparation}."
        tables.append(table(caption, head, [_figure(estimate) for estimate in estimates]))
    return joined(*tables)


def _figure(estimate: Estimate) -> tuple[str, ...]:
    bits = estimate.bits_per_dim
    return (
        joined(estimate.name, element("small", estimate.meaning)),
        joined(exact(estimate.value), f" {estimate.unit}"),
        optional(estimate.error_examples),
        optional(estimate.error_walks),
        NONE if bits is None else exact(bits, f"{bits:.3f}"),
        effective(estimate),
        str(estimate.walks) if estimate.walks else NONE,
        _beside(estimate),
    )


def effective(estimate: Estimate) -> str:
    """The effective sample size over the walks; a dash for estimates that are not weighted."""
    if estimate.effective is None:
        return NONE
    least = "" if estimate.effective_min is None else f", at least {estimate.effective_min:.1f}"
    return joined(exact(estimate.effective, f"{estimate.effective:.1f}"), f" of {estimate.walks}{least}")


def _beside(estimate: Estimate) -> str:
    others = {} if estimate.baseline is None else {"factorial model": estimate.baseline}
    lines: list[str] = [joined(f"{name} ", exact(value)) for name, value in {**others, **estimate.beside}.items()]
    return listed([*lines, *estimate.warnings]) or NONE


def logged(metrics: Sequence[Mapping[str, Any]]) -> Html:
    """The metrics of training, as they were first and last logged; nothing where none were.

    Arguments:
        metrics: The lines of ``metrics.jsonl``.
    """
    found = {name: [line for line in metrics if name in line] for name in metric_names(metrics)}
    rows = [(name, _logged(lines[0], name), _logged(lines[-1], name)) for name, lines in found.items()]
    return table("What was logged while training.", ("Metric", "First", "Last"), rows) if rows else Html()


def _logged(line: Mapping[str, Any], name: str) -> Html:
    """A metric of one line with its standard error, if it has one, and where it was logged."""
    error = [" ± ", exact(line[name + ERROR])] if name + ERROR in line else []
    return joined(exact(line[name]), *error, f" (update {line.get('update', '?')})")


def text(value: Any) -> str:
    """A value of a setting as text; None is a key that a run does not have."""
    return NONE if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def differences(caption: str, settings: Sequence[Setting], names: Sequence[str]) -> Html:
    """Keys in which runs differ, a column for each run; nothing where they do not differ."""
    rows = [(element("code", setting.key), *map(text, setting.values)) for setting in settings]
    return table(caption, ("Key", *names), rows) if rows else Html()


def ranked(comparison: Comparison) -> Html:
    """The figures of several runs, a table for each name, with the best ones marked."""
    head = ("Run", "Rank", "Value", "± over examples", "± over walks", "Bits per dimension", "Effective sample size", "Of")
    tables: dict[str, list[tuple[str, ...]]] = {}
    for entry in comparison.entries:
        cells = _figure(entry.figure.estimate)[1:6]
        mark = element("strong", entry.mark, class_="mark") if entry.mark else NONE
        row = (comparison.names[entry.run], mark, *cells, of(entry))
        tables.setdefault(entry.quantity.name, []).append(row)
    return joined(*[table(name, head, rows) for name, rows in tables.items()])


def of(entry: Entry) -> str:
    """On what a figure was estimated, with which settings, where others of its name have other ones, and how the data was prepared."""
    estimate, settings = entry.figure.estimate, f", {entry.settings}" if entry.settings else ""
    walks = f", {estimate.walks} walk{'s' * (estimate.walks > 1)}" if estimate.walks else ""
    return f"{estimate.examples} {estimate.split} examples{walks}{settings}, seed {estimate.seed}; {estimate.preparation}"
