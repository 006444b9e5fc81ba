r"""Runs beside each other: the settings in which they differ, and their figures, ranked where these are of one quantity.

A density on [0, 1], a density on 0..255 and a mass on {0, 1} are different quantities, and so are
likelihoods of other data or another split. Within one quantity the highest likelihood, or the lowest
figure of which lower is better, is marked as best where it is apart from every other by more than their joint standard error

.. math:: \sqrt{e_1^2 + e_2^2}, \qquad e^2 = e_\text{examples}^2 + e_\text{walks}^2

and as tied with those that it is not. Figures of which nothing says whether higher or lower is better are shown and not ranked.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any, Literal, TypeAlias

import attrs

from chainkit.errors import RecipeError
from chainkit.estimator import Estimate
from chainkit.run_record import Figure, RunRecord

Mark: TypeAlias = Literal["", "best", "tied"]

WHY = {
    "unit": "their units differ",
    "preparation": "figures of data that was prepared differently are different quantities",
    "data": "they are of different data",
    "dim": "the examples have different numbers of elements",
    "split": "the examples are of different splits",
    "meaning": "they are different figures of one name",
    "walks": "weighted estimates rise with the number of walks",
    "settings": "their settings differ, and only likelihoods do not depend on them",
    "examples": "without an error over examples, only figures on the same examples compare, of equal number and seed",
}
"""Why figures of different quantities are not ranked, by what differs; the first that applies says enough."""


@attrs.frozen(kw_only=True)
class Quantity:
    """What a figure is of. Only figures of equal quantities are ranked.

    Arguments:
        name: The estimator.
        unit: The unit.
        preparation: How the data was prepared.
        data: The fingerprint of the split, and where it was not kept the ``[data]`` table, as JSON.
        dim: Elements of one example.
        split: The split that the examples are from.
        meaning: What the number is.
        walks: Walks per example where the estimate is weighted and depends on them, else 0.
        settings: What the estimator was asked for, and the number of examples, as JSON; nothing for a likelihood.
        examples: Number and seed of the examples where the figure has no error over them, else None.
        table: The ``[data]`` table, as JSON, to say in which keys other data differs.
    """

    name: str
    unit: str
    preparation: str
    data: str
    dim: int
    split: str
    meaning: str
    walks: int
    settings: str
    examples: tuple[int, int] | None
    table: str = attrs.field(eq=False)

    @classmethod
    def of(cls, figure: Figure, table: Mapping[str, Any]) -> Quantity:
        """The quantity of a figure of a run whose recipe has this ``[data]`` table."""
        estimate, described = figure.estimate, json.dumps(table, sort_keys=True, default=str)
        return cls(
            name=estimate.name,
            unit=estimate.unit,
            preparation=estimate.preparation,
            data=figure.data or described,
            table=described,
            dim=estimate.dim,
            split=estimate.split,
            meaning=estimate.meaning,
            walks=0 if estimate.effective is None else estimate.walks,
            settings="" if estimate.likelihood else json.dumps({"examples": estimate.examples, **figure.settings}, sort_keys=True),
            examples=(estimate.examples, estimate.seed) if estimate.error_examples is None else None,
        )


@attrs.frozen(kw_only=True)
class Setting:
    """A key in which runs differ.

    Arguments:
        key: Dotted key.
        values: Its value in every run, None where a run does not have it.
    """

    key: str
    values: tuple[Any, ...]


@attrs.frozen(kw_only=True)
class Entry:
    """A figure of one of the runs.

    Arguments:
        run: The run, by its place among those compared.
        figure: The figure.
        quantity: What it is of.
        mark: "best", "tied" with the best within the errors, or nothing.
        settings: Those in which it differs from other figures of its name, in words.
    """

    run: int
    figure: Figure
    quantity: Quantity
    mark: Mark = ""
    settings: str = ""


@attrs.frozen(kw_only=True)
class Comparison:
    """Runs beside each other.

    Arguments:
        runs: The runs.
        names: What they are called: the names of their directories, or the paths where these are not unique.
        settings: Keys of the recipes that differ.
        environment: Versions, devices and the like that differ.
        entries: All figures; those of one name, and in it of one quantity, one after the other.
        refusals: What is not ranked, and why.
    """

    runs: tuple[RunRecord, ...]
    names: tuple[str, ...]
    settings: tuple[Setting, ...]
    environment: tuple[Setting, ...]
    entries: tuple[Entry, ...]
    refusals: tuple[str, ...]


def compare(runs: Sequence[RunRecord]) -> Comparison:
    """Compares runs.

    Arguments:
        runs: Two or more.

    Raises:
        RecipeError: There are fewer than two, or one is given twice.
    """
    places = [run.path.resolve() for run in runs]
    if len(set(places)) < max(2, len(runs)):
        raise RecipeError("compare takes two or more runs, each of them once")
    names = [place.name for place in places]
    names = names if len(set(names)) == len(names) else [str(run.path) for run in runs]
    entries = _marked([Entry(run=i, figure=f, quantity=Quantity.of(f, r.recipe["data"])) for i, r in enumerate(runs) for f in r.figures])
    surroundings = [attrs.asdict(attrs.evolve(run.environment, overrides=[], command=[])) for run in runs]
    return Comparison(
        runs=tuple(runs),
        names=tuple(names),
        settings=_differing([run.recipe for run in runs]),
        environment=_differing(surroundings),
        entries=tuple(entries),
        refusals=(*_refusals(entries, names), *_unranked(entries)),
    )


def flat(value: Any, key: str = "") -> dict[str, Any]:
    """The values inside nested tables by dotted key; a list that holds tables counts them from 0.

    Arguments:
        value: Tables, as TOML and JSON have them.
        key: What stands before the keys.
    """
    if isinstance(value, Mapping):
        items: Iterable[tuple[Any, Any]] = value.items()
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        items = enumerate(value)
    else:
        return {key: value}
    return {inner: found for name, item in items for inner, found in flat(item, f"{key}.{name}".lstrip(".")).items()}


def _differing(tables: Sequence[Mapping[str, Any]]) -> tuple[Setting, ...]:
    """Keys whose values differ; those of one table one after the other."""
    flattened = [flat(table) for table in tables]
    tops = dict.fromkeys(top for table in tables for top in table)
    keys = dict.fromkeys(key for top in tops for table in tables if top in table for key in flat({top: table[top]}))
    rows = [Setting(key=key, values=tuple(table.get(key) for table in flattened)) for key in keys]
    return tuple(row for row in rows if any(value != row.values[0] for value in row.values))


def _grouped(entries: Iterable[Entry], field: Literal["name", "quantity"]) -> list[list[Entry]]:
    groups: dict[Any, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.quantity.name if field == "name" else entry.quantity, []).append(entry)
    return list(groups.values())


def _marked(entries: list[Entry]) -> list[Entry]:
    """The entries with their marks, sorted by name and quantity in the order in which these first appear."""
    named = [group for name in _grouped(entries, "name") for group in _grouped(_set_apart(name), "quantity")]
    return [attrs.evolve(entry, mark=mark) for group in named for entry, mark in zip(group, _marks(group), strict=True)]


def _set_apart(entries: list[Entry]) -> list[Entry]:
    """Figures of one name with the settings in which they differ."""
    found = told_apart([entry.figure for entry in entries])
    return [attrs.evolve(entry, settings=settings) for entry, settings in zip(entries, found, strict=True)]


def told_apart(figures: Sequence[Figure]) -> list[str]:
    """For each figure the settings in which these differ, in words; but for the walks, which every estimate has.

    Arguments:
        figures: The figures; one whose settings were not kept differs in nothing.
    """
    tables = [flat(figure.settings) for figure in figures]
    keys = [setting.key for setting in _differing([table for table in tables if table]) if setting.key.rpartition(".")[2] != "walks"]
    return [", ".join(f"{key} = {json.dumps(table[key])}" for key in keys if key in table) for table in tables]


def _rankable(entry: Entry) -> bool:
    return entry.figure.estimate.directed and entry.figure.estimate.error is not None


def _marks(group: Sequence[Entry]) -> list[Mark]:
    """Which figures of one quantity are the best: of each run the one on the most examples, never the luckiest."""
    if len({entry.run for entry in group}) < 2 or not all(map(_rankable, group)):
        return [""] * len(group)
    standing: dict[int, Entry] = {}
    for entry in group:
        standing[entry.run] = max(standing.get(entry.run, entry), entry, key=_weight)
    top = max(standing.values(), key=lambda entry: entry.figure.estimate.merit)
    near = [entry for entry in standing.values() if entry is not top and not _better(top.figure.estimate, entry.figure.estimate)]
    return [("tied" if near else "best") if entry is top else "tied" if entry in near else "" for entry in group]


def _weight(entry: Entry) -> tuple[int, int, int]:
    """How much a figure has to go by: examples, walks, and the lowest seed where these are as many."""
    estimate = entry.figure.estimate
    return estimate.examples, estimate.walks, -estimate.seed


def _better(one: Estimate, other: Estimate) -> bool:
    return one.merit - other.merit > math.hypot(one.error or 0.0, other.error or 0.0)


def _refusals(entries: Sequence[Entry], names: Sequence[str]) -> list[str]:
    """One line for each figure by which some runs are not ranked against others."""
    lines = []
    for group in _grouped(filter(_rankable, entries), "name"):
        sides: dict[frozenset[Quantity], list[str]] = {}
        for run in sorted({entry.run for entry in group}):
            sides.setdefault(frozenset(entry.quantity for entry in group if entry.run == run), []).append(names[run])
        for (ones, first), (others, second) in combinations(sides.items(), 2):
            if not ones & others:
                lines.append(f"{group[0].quantity.name}: {', '.join(first)} not ranked against {', '.join(second)}: {_why(ones, others)}")
    return lines


def _why(ones: Iterable[Quantity], others: Iterable[Quantity]) -> str:
    """What keeps the figures of two runs apart."""
    for field, why in WHY.items():
        values = [sorted({getattr(quantity, field) for quantity in side}, key=str) for side in (ones, others)]
        if not set(values[0]) & set(values[1]):
            in_keys = {"data": _apart_tables, "settings": _apart_settings}.get(field)
            return f"{why} ({in_keys(ones, others) if in_keys else _apart(*values)})"
    return "no figure of one has the settings of a figure of the other"


def _apart(ones: Sequence[Any], others: Sequence[Any]) -> str:
    """The values of two runs."""
    return "; ".join(" and ".join(map(str, values)) for values in (ones, others))


def _apart_settings(ones: Iterable[Quantity], others: Iterable[Quantity]) -> str:
    """The keys in which what was asked for differs, with their values."""
    found = _differing([json.loads(min(quantity.settings for quantity in side)) for side in (ones, others)])
    return ", ".join(f"{setting.key} {'; '.join(map(str, setting.values))}" for setting in found)


def _apart_tables(ones: Iterable[Quantity], others: Iterable[Quantity]) -> str:
    """The keys in which the data of two runs differs; none where it lies at one place and has changed."""
    tables = [json.loads(min(quantity.table for quantity in side)) for side in (ones, others)]
    return ", ".join(f"data.{setting.key}" for setting in _differing(tables)) or "of the same settings, but other values"


def _unranked(entries: Iterable[Entry]) -> list[str]:
    """Figures that no run is ranked by."""
    shown = [group[0].figure.estimate for group in _grouped(entries, "name")]
    unknown = ", ".join(estimate.name for estimate in shown if not estimate.directed)
    bare = ", ".join(estimate.name for estimate in shown if estimate.directed and estimate.error is None)
    said = [
        (unknown, "nothing says which direction is better"),
        (bare, "without a standard error nothing says how far apart is enough"),
    ]
    return [f"{names}: not ranked: {why}" for names, why in said if names]
