"""What the mutation test found, kept: ``docs/records/mutation/verdicts.json`` and the page beside it.

A survivor is either explained in ``survivors.toml`` (the line is part of no formula, or the change has no
effect that a test should look for) or missing a test.
"""

from __future__ import annotations

import json
import platform
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent

TEXT = """# Mutation test

Written by `python tests/mutation/run.py --record`. Every numeric constant (1 % more, or one more where it
counts something) and every sign in the formulas of the core and of the shipped plugins, changed one at a
time; a mutant is killed when a test fails. What is left alone is said in `tests/mutation/mutants.py`.

"""


def reasons() -> dict[str, dict[str, Any]]:
    """Why mutants may survive, by the mutant's key: ``reason``, and whether the line is part of a ``formula``."""
    table = tomllib.loads((HERE / "survivors.toml").read_text(encoding="utf-8"))["survivor"]
    return {key: {"reason": entry["reason"], "formula": entry.get("formula", True)} for entry in table for key in entry["mutants"]}


def write_record(root: Path, verdicts: Iterable[Mapping[str, Any]], untried: Mapping[str, int]) -> None:
    """Writes the record and its page.

    Arguments:
        root: Root of the repository.
        verdicts: One for each mutant that was tried.
        untried: How many of a file were not, by its path.
    """
    import torch

    verdicts, why = list(verdicts), reasons()
    folder = root / "docs" / "records" / "mutation"
    folder.mkdir(parents=True, exist_ok=True)
    tried, killed = Counter(v["path"] for v in verdicts), Counter(v["path"] for v in verdicts if v["killed"])
    record = {
        "mutants": len(verdicts),
        "killed": sum(killed.values()),
        "untried": dict(sorted(untried.items())),
        "minutes": round(sum(v["seconds"] for v in verdicts) / 60, 1),
        "environment": {"torch": torch.__version__, "python": platform.python_version()},
        "files": {path: {"mutants": tried[path], "killed": killed[path]} for path in sorted(tried)},
        "survivors": [
            {"mutant": v["key"], "line": v["line"], **why.get(v["key"], {"reason": "", "formula": True})}
            for v in sorted(verdicts, key=lambda v: (v["path"], v["line"]))
            if not v["killed"]
        ],
    }
    (folder / "verdicts.json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(page(record), encoding="utf-8")


def page(record: Mapping[str, Any]) -> str:
    """The page of a record."""
    killed, every = record["killed"], record["mutants"]
    outside = sum(not survivor["formula"] for survivor in record["survivors"])
    alike = sum(bool(survivor["reason"]) for survivor in record["survivors"]) - outside
    lines = [
        f"{killed} of {every} killed, {killed / every:.1%}. {outside} of the survivors stand in no formula (sizes of blocks, seeds,",
        f"when to warn): without them {killed / (every - outside):.1%}. {alike} more change nothing that a test should see: of what",
        f"is left {killed / (every - outside - alike):.1%}. The reason stands beside each. {record['minutes']} minutes of one processor.",
        "",
    ]
    if record["untried"]:
        lines += ["Not tried yet: " + ", ".join(f"`{path}` ({count})" for path, count in record["untried"].items()) + ".", ""]
    lines += ["| file | mutants | killed |", "| --- | --- | --- |"]
    lines += [f"| `{path}` | {counts['mutants']} | {counts['killed']} |" for path, counts in record["files"].items()]
    lines += ["", "## Survivors", "", "| where | change | why |", "| --- | --- | --- |"]
    for survivor in record["survivors"]:
        where, _, change = survivor["mutant"].partition(": ")
        path, _, function = where.partition(" ")
        code = " → ".join(f"`{side.replace('|', chr(92) + '|')}`" for side in change.split(" => "))
        lines.append(f"| `{path}:{survivor['line']}` {function} | {code} | {survivor['reason'] or 'no test notices it'} |")
    return TEXT + "\n".join(lines) + "\n"
