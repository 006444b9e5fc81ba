"""The reliability studies: what becomes of runs that are killed, stopped, damaged or left without room.

``python tests/reliability/run.py`` tries every study in its long form, which takes hours; ``--short``
takes minutes, ``--brief`` less than one. It may be stopped and started again: what was found is kept in
``runs/reliability.jsonl`` by study, method and size, and is not found again. ``--record`` writes what
is known of the long form into ``docs/records/reliability`` and the page ``docs/reliability.md``.

The exit code is 1 if anything did not hold.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import attrs
import cattrs
from children import prepare
from page import environment, write_records
from studies import STUDIES
from study import Record, Study

ROOT = Path(__file__).parents[2]
SIZES = ("brief", "short", "long")


@attrs.frozen(kw_only=True)
class Result:
    """A record and what it is about.

    Arguments:
        study: Name of the study.
        method: What it was tried on.
        count: How much was to be tried.
        seed: With which seed.
        environment: Machine, versions and commit.
        record: What was found.
    """

    study: str
    method: str
    count: int
    seed: int
    environment: dict[str, str]
    record: Record

    @property
    def key(self) -> tuple[str, str, int, int]:
        """What makes another result of the same kind superfluous."""
        return self.study, self.method, self.count, self.seed


def known(path: Path) -> dict[tuple[str, str, int, int], Result]:
    """The results that are kept; the last one of a kind counts."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    found = [cattrs.structure(json.loads(line), Result) for line in lines]
    return {result.key: result for result in found}


def pairs(size: str, only: str, method: str) -> Iterator[tuple[Study, str, int]]:
    """Every study with each of its methods, and how much to try.

    Arguments:
        size: One of :data:`SIZES`.
        only: Name of the study wanted; empty for all.
        method: Name of the method wanted; empty for all.
    """
    for study in STUDIES:
        methods = study.methods[:1] if size == "brief" else study.methods
        count = getattr(study, size)
        if count and only in ("", study.name):
            yield from ((study, found, count) for found in methods if method in ("", found))


def carry_out(study: Study, method: str, count: int, seed: int) -> Result:
    """One study on one method, in a folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix="reliability-"))
    try:
        record = study.run(count, seed, folder / study.name, method)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Result(study=study.name, method=method, count=count, seed=seed, environment=environment(ROOT), record=record)


def keep(result: Result, results: Path) -> None:
    """Says and keeps what was found."""
    record = result.record
    said = f"skipped, {record.skipped}" if record.skipped else f"{record.held} of {record.tried} held, {record.seconds:.0f} s"
    print(f"{result.study:<10} {result.method:<10} {said}{'  ' + record.failure if record.failure else ''}", flush=True)
    results.parent.mkdir(parents=True, exist_ok=True)
    with results.open("a", encoding="utf-8") as file:
        file.write(json.dumps(attrs.asdict(result)) + "\n")


def main() -> int:
    """Reads the command line and does what it says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brief", action="store_const", const="brief", dest="size", help="as the tests do")
    parser.add_argument("--short", action="store_const", const="short", dest="size", help="as before a change lands")
    parser.add_argument("--only", default="", metavar="NAME", choices=["", *(study.name for study in STUDIES)], help="one study")
    parser.add_argument("--method", default="", help="one method")
    parser.add_argument("--count", type=int, help="try so much, instead of what the size says")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=ROOT / "runs" / "reliability.jsonl")
    parser.add_argument("--record", action="store_true", help="write docs/records/reliability and docs/reliability.md")
    asked = parser.parse_args()
    chosen = [(study, method, asked.count or count) for study, method, count in pairs(asked.size or "long", asked.only, asked.method)]
    before, sound, ready = known(asked.results), True, False
    for study, method, count in chosen:
        result = before.get((study.name, method, count, asked.seed))
        if result is None:
            if not ready:
                prepare()
                ready = True
            result = carry_out(study, method, count, asked.seed)
            keep(result, asked.results)
        sound = sound and result.record.sound
    if asked.record:
        write_records(ROOT, [attrs.asdict(result) for result in known(asked.results).values()])
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
