"""Small records of long runs, and the tables of their figures.

``python docs/records/record.py RUN NAME`` keeps the record of a run as ``NAME.json`` beside this
file; every call writes the tables anew: ``README.md``, all figures of all records, and
``papers.md``, what the papers print (``papers.toml``) beside them. A record holds what the figures depend on
(recipe with all defaults, overrides, versions, device, seed), the curve of training, and the
figures with their errors; not the weights.
"""

from __future__ import annotations

import json
import math
import sys
import tomllib
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent

TEXT = """# Records of runs

Written by `record.py` from run directories, never by hand. One seed each, on two CPU cores; the
overrides say where a run is shorter than its recipe. Log-likelihoods are nats per example, higher
is better, with the standard errors over examples and over walks; they compare only between rows of
the same data (real-valued densities and masses on bits are different quantities).

"""


PAPERS = """# The papers' figures

Written by `record.py` from `papers.toml` and the records, never by hand. Differences are ours minus
the paper's; higher is better. Errors are standard errors over examples and over walks; the papers'
own are of the kind that is named.

"""


def record(run: Path) -> dict[str, Any]:
    """The record of a run directory.

    Arguments:
        run: The directory of a run that has ended.
    """
    environment = json.loads((run / "environment.json").read_text(encoding="utf-8"))
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    trained, validated = ([line for line in lines if any(key.startswith("valid ") for key in line) is at] for at in (False, True))
    started, ended = (run / "resolved.toml").stat().st_mtime, (run / "final" / "manifest.json").stat().st_mtime
    return {
        "recipe": tomllib.loads((run / "resolved.toml").read_text(encoding="utf-8")),
        "environment": {
            key: environment[key] for key in ("chainkit", "torch", "python", "platform", "device", "threads", "overrides", "git")
        },
        "minutes": round((ended - started) / 60, 1),
        "curve": [*trained[:: max(1, len(trained) // 20)], *validated],
        "figures": json.loads((run / "evaluation.json").read_text(encoding="utf-8")),
    }


def table() -> str:
    """The page of all records."""
    rows = ["| record | overrides | training | figure | value | beside |", "| --- | --- | --- | --- | --- | --- |"]
    for path in sorted(HERE.glob("*.json")):
        kept = json.loads(path.read_text(encoding="utf-8"))
        first = (
            f"[{path.stem}]({path.name}) | {' '.join(f'`{change}`' for change in kept['environment']['overrides'])} | {kept['minutes']} min"
        )
        for figure in kept["figures"]:
            rows.append(f"| {first} | {figure['name']} | {_value(figure)} | {_beside(figure)} |")
            first = " | | "
    return TEXT + "\n".join(rows) + "\n"


def papers() -> str:
    """The page of the papers' figures."""
    rows = ["| paper | figure | printed | chainkit | difference | record | note |", "| --- | --- | --- | --- | --- | --- | --- |"]
    for published in tomllib.loads((HERE / "papers.toml").read_text(encoding="utf-8"))["published"]:
        unit, printed = published["unit"], published.get("value")
        path = HERE / f"{published['record']}.json"
        kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
        figures = [_in(unit, figure) for figure in kept["figures"]] if kept else []
        found, best = _named(figures, published["figure"], published.get("walks")), _named(figures, published.get("optimum"))
        ours = "not run yet" if found is None else _value(found)
        if found and best:
            ours += f"; optimum {best['value']:.3f}, {best['value'] - found['value']:.3f} above"
        apart = "" if found is None or printed is None or not published.get("comparable", True) else f"{found['value'] - printed:+.3f}"
        said = "none" if printed is None else f"{printed} {unit}" + (f" ± {published['error']}" if "error" in published else "")
        where = f"[{path.stem}]({path.name}), {kept['minutes']} min on {kept['environment']['device']}" if kept else ""
        rows.append(f"| {published['paper']} | {published['what']} | {said} | {ours} | {apart} | {where} | {published['note']} |")
    return PAPERS + "\n".join(rows) + "\n"


def _named(figures: list[dict[str, Any]], name: str | None, walks: int | None = None) -> dict[str, Any] | None:
    """The first figure of a name, and of so many walks where that is said."""
    return next((figure for figure in figures if figure["name"] == name and walks in (None, figure["walks"])), None)


def _in(unit: str, figure: dict[str, Any]) -> dict[str, Any]:
    """A figure in nats, in the unit of a paper."""
    scale = {"nats": 1.0, "bits": 1 / math.log(2)}[unit]
    scaled = {key: None if figure[key] is None else figure[key] * scale for key in ("value", "error_examples", "error_walks")}
    return {**figure, **scaled, "unit": unit}


def _value(figure: dict[str, Any]) -> str:
    digits = 3 if figure["unit"] == "bits" else 2
    errors = "".join(f" ± {figure[key]:.{digits}f}" for key in ("error_examples", "error_walks") if figure[key] is not None)
    walks = f", {figure['walks']} walk{'s' * (figure['walks'] > 1)}" if figure["walks"] else ""
    return f"{figure['value']:.{digits}f}{errors} {figure['unit']} ({figure['examples']} {figure['split']} examples{walks})"


def _beside(figure: dict[str, Any]) -> str:
    baseline = [] if figure["baseline"] is None else [f"factorial model {figure['baseline']:.2f}"]
    return "; ".join(baseline + [f"{name} {value:.2f}" for name, value in figure.get("beside", {}).items()])


if __name__ == "__main__":
    if len(sys.argv) == 3:
        (HERE / f"{sys.argv[2]}.json").write_text(json.dumps(record(Path(sys.argv[1])), indent=1) + "\n", encoding="utf-8")
    (HERE / "README.md").write_text(table(), encoding="utf-8")
    (HERE / "papers.md").write_text(papers(), encoding="utf-8")
