"""What the benchmarks found, kept and shown: ``docs/records/benchmarks`` and ``docs/benchmarks.md``."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from measure import Row

ROOT = Path(__file__).parents[2]
RECORDS = ROOT / "docs" / "records" / "benchmarks"
PAGE = ROOT / "docs" / "benchmarks.md"
PICTURE = ROOT / "docs" / "images" / "scaling.png"
SHOWN = 3
"""How many runs the page shows, the newest ones."""

TEXT = """# Benchmarks

Written by `make bench` from `docs/records/benchmarks`, never by hand. Every figure compares two ways of doing the
same work within one run, in turn, on the same machine; in float64 and fed the same draws, losses and
gradients of both are equal to 1e-9 (`tests/benchmarks/test_exact.py`). The user's loop is what one would
write with torch's modules and torch.distributions, one forward to sample and one to train, default Adam;
the bare loop is chainkit's own algorithm written by hand (`tests/benchmarks/yardsticks`). Figures in `x`
say how many times as fast, in `x time` how many times as long, so that 1.03 is 3 % slower; "+" stands
before what is added. All contenders share a process, so that the loops by hand keep the memory that they free, too
(`chainkit.memory`). The columns of figures are the newest runs on a processor, apart in time; the load is the
machine's average number of running processes as each began.

"""

APART = ("scaling", "shares")
"""Families with a part of the page of their own."""

SCALING = """## Scaling

![Time and memory of a training step against length, batch and width, and of an estimate against walks](images/scaling.png)

Infusion training on MNIST (784-1200-1200, T = 15, B = 128), one quantity growing at a time; the
importance estimate for the number of walks. The exponent p of time ~ n^p, by least squares over the points:
1 is proportional. Where it is below 1, the smallest sizes do not fill the machine or pay the same Python and
optimiser; the products grow with the square of the width between the hidden layers, and with the width itself
at either end. Memory is the peak of the whole process, of which Python, torch and the data take a fixed part. Against
the length it grows until a chunk of steps is full (21.5 MB of states and outputs, and what their gradients take), beyond
only by the parameters of batch normalisation of each step and their moments; against the walks until a block is full.

"""


SHARES = """## Where the time goes

By torch's profiler, which slows what it watches: milliseconds, and the share of each kind. One step of infusion training on
MNIST in float32; before: the steps of a walk, each with a loss and a backward pass of its own; after: the walk drawn
first, then many of its steps back together.

| kind of operation | the user's loop | chainkit, before | chainkit, after | the bare loop |
| --- | --- | --- | --- | --- |
"""
COLUMNS = ("user", "one at a time", "together", "bare")

OTHERS = """The same of other work: a step of infusion training in bfloat16; a walk of walkback in bfloat16 with one
update per step; 256 samples of the infusion chain, 30 steps, in float32 and bfloat16. What
the profiler remembers lies between large blocks of memory, so that copies of whole weights wait for fresh pages here.

| kind of operation | infusion, bfloat16 | walkback per step, bfloat16 | samples, float32 | samples, bfloat16 |
| --- | --- | --- | --- | --- |
"""
OTHER_COLUMNS = ("bfloat16", "step", "sampling", "sampling bfloat16")

WHY = """Why some are short:

- The bare loop keeps what normalisation and activation gave in the walk; chainkit evaluates everything between products
  again for its gradient, since it knows only products and leaves all else to autograd. The bare loop has its products
  write where they are needed, chainkit copies them there; and it checks nothing.
- Without a graph every evaluation of the small chain passes through modules, distributions and the recorder, calls that
  the bare loop does without: the milliseconds in the table over 30 evaluations. A graph (`chainkit.tape`), which a run
  takes unasked where it is safe, does without them, too.
- The Xeon makes products in bfloat16 more than three times as fast as in float32 (AMX); random numbers, which one
  thread makes, arithmetic in float32 and the optimiser do not follow. The EPYC makes them about twice as fast (AVX512).
  The runs on the Xeon are older than `chainkit.memory` and `chainkit.tape`.
- Of the time of `chainkit check` a fifth goes into the config classes of the plugins that the recipe names, most of which
  the recipe does not use; the runs differ by the host's speed.
- Of the two chains whose memory is compared, the shorter one has a graph, the trials of which take more than its updates
  do later; that of the longer one would have more operations than are recorded unasked. Without graphs the
  longer one took 5 to 8 MB more.
- With one update per step Adam goes through all weights, their gradients and moments eight times a walk, and weights and
  gradients are brought from one type to the other as often: the memory's rate, not the processor's. Such a step takes 175 ms
  in bfloat16 whatever the host does; the user's loop takes 400 to 500, and the ratio is 2.2 to 2.8.
"""


def table(rows: Sequence[Row]) -> str:
    """The figures of one run, for the terminal."""
    width = max(len(row.name) for row in rows)
    lines = [f"{'':{width}}  at least       aim  measured"]
    lines += [
        f"{row.name:{width}}  {figure(row.at_least):>8}  {figure(row.aim):>8}  {figure(row.measured):>8} {row.unit:10} {row.verdict}"
        for row in rows
    ]
    return "\n".join(lines)


def figure(value: float | None) -> str:
    """Three digits, or nothing."""
    return "" if value is None else f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def keep(family: str, rows: Sequence[Row], machine: Mapping[str, Any], date: str, repeats: int, folder: Path = RECORDS) -> None:
    """Appends a run to the record of a family.

    Arguments:
        family: Its name.
        rows: What was measured.
        machine: What it depends on (:func:`measure.machine`).
        date: When, ISO 8601.
        repeats: Rounds of timing.
        folder: Where records are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{family}.json"
    runs = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    runs.append({"date": date, "repeats": repeats, "machine": dict(machine), "rows": [_plain(row) for row in rows]})
    path.write_text(json.dumps(runs, indent=1) + "\n", encoding="utf-8")


def _plain(row: Row) -> dict[str, Any]:
    details = {name: float(f"{value:.4g}") for name, value in row.details.items()}
    return {**attrs.asdict(row), "measured": float(f"{row.measured:.4g}"), "details": details}


def records(folder: Path = RECORDS) -> dict[str, list[dict[str, Any]]]:
    """The runs of every family, oldest first."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


def page(kept: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """The page of all records.

    Arguments:
        kept: The runs of every family.
    """
    header = ["| what | at least | aim | measured | |", "| --- | --- | --- | --- | --- |"]
    compared = {family: runs for family, runs in kept.items() if family not in APART}
    lines = []
    for processor in _processors(compared):
        of_it = [_newest(runs, processor) for runs in compared.values()]
        lines += [f"## {processor}", "", *header, *(line for runs in of_it for line in _lines(runs)), ""]
    if "shares" in kept:
        rows = kept["shares"][-1]["rows"]
        lines += [SHARES.rstrip("\n"), *(_shares(row, COLUMNS) for row in rows)]
        lines += ["", OTHERS.rstrip("\n"), *(_shares(row, OTHER_COLUMNS) for row in rows), "", WHY.rstrip("\n"), ""]
    if "scaling" in kept:
        lines += [SCALING.rstrip("\n"), "", *header, *_lines(kept["scaling"][-SHOWN:]), ""]
    lines += [
        "## Runs",
        "",
        "| benchmark | date | rounds | load | threads | torch | processor |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    shown = {
        family: [run for processor in _processors({family: runs}) for run in _newest(runs, processor)] for family, runs in kept.items()
    }
    lines += [_run(family, run) for family, runs in shown.items() for run in runs]
    return TEXT + "\n".join(lines) + "\n"


def _processors(kept: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """Those that there are runs on, the one that was used last first."""
    newest_first = sorted((run for runs in kept.values() for run in runs), key=lambda run: str(run["date"]), reverse=True)
    return list(dict.fromkeys(run["machine"]["processor"] for run in newest_first))


def _newest(runs: Sequence[Mapping[str, Any]], processor: str) -> list[Mapping[str, Any]]:
    return [run for run in runs if run["machine"]["processor"] == processor][-SHOWN:]


def _lines(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """One row for each figure of the newest run, with those of the runs before it."""
    shown = [{row["name"]: Row(**row) for row in run["rows"]} for run in runs]
    lines = []
    for name, row in shown[-1].items() if shown else []:
        values = [run[name].measured for run in shown if name in run]
        middle = attrs.evolve(row, measured=statistics.median(values))
        goals = " | ".join("" if goal is None else f"{figure(goal)} {row.unit}" for goal in (row.at_least, row.aim))
        lines.append(f"| {name} | {goals} | {', '.join(map(figure, values))} {row.unit} | {middle.verdict} |")
    return lines


def _shares(row: Mapping[str, Any], columns: Sequence[str]) -> str:
    found = row["details"]
    parts = (f"{figure(found[f'{name}, ms'])} ms, {found[f'{name}, %']:.0f} %" for name in columns)
    return f"| {row['name']} | {' | '.join(parts)} |"


def _run(family: str, run: Mapping[str, Any]) -> str:
    machine = run["machine"]
    found = (run["date"], run["repeats"], *(machine[key] for key in ("load", "threads", "torch", "processor")))
    return f"| [{family}](records/benchmarks/{family}.json) | {' | '.join(map(str, found))} |"


def draw(runs: Sequence[Mapping[str, Any]], path: Path = PICTURE) -> None:
    """Time and memory in the newest run of ``scaling``, one column for each quantity.

    Arguments:
        runs: The runs of the family ``scaling``, at least one.
        path: The picture.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    rows = runs[-1]["rows"]
    kinds = {unit: found for unit, what in (("ms", "time"), ("MB", "memory")) if (found := [r for r in rows if r["name"].startswith(what)])}
    columns = len(kinds["ms"])
    picture, axes = pyplot.subplots(len(kinds), columns, figsize=(2.6 * columns, 2.4 * len(kinds)), squeeze=False, layout="constrained")
    for line, (unit, of_kind) in enumerate(kinds.items()):
        for axis, row in zip(axes[line], of_kind, strict=True):
            places, values = zip(*((_place(name), value) for name, value in row["details"].items()), strict=True)
            axis.plot(places, values, "o-", markersize=4)
            axis.set_xscale("log")
            axis.set_xlabel(row["name"].split()[2].rstrip(","))
            axis.set_xticks(places, [f"{place:g}" for place in places])
            axis.set_xticks([], minor=True)
            axis.grid(which="both", alpha=0.2)
            if unit == "ms":
                axis.set_yscale("log")
            else:
                axis.set_ylim(0)
        axes[line, 0].set_ylabel(unit)
    picture.savefig(path, dpi=80)
    pyplot.close(picture)


def _place(name: str) -> float:
    """Where a point is: the number in ``batch = 64, ms``."""
    return float(name.split("=")[1].split(",")[0])
