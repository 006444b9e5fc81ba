"""The benchmarks: ``python tests/benchmarks/run.py`` measures and prints the table.

``--only infusion walkback`` measures some families, ``--repeats 9`` more rounds, ``--record`` appends
the figures to ``docs/records/benchmarks`` and writes ``docs/benchmarks.md`` anew; ``--page`` only does the latter.
Each family runs in a process of its own, so that none is measured in the memory that another has left behind.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import subprocess
import sys
from pathlib import Path

import report
from measure import Row, machine

FAMILIES = ("infusion", "walkback", "small_chain", "data_path", "sampling", "importance", "memory", "start", "scaling", "shares")
REPEATS = 7


def measured(family: str, repeats: int) -> list[Row]:
    """The rows of a family."""
    return list(importlib.import_module(family).rows(repeats))


def write_page() -> None:
    """Writes the page and the picture from the records."""
    kept = report.records()
    report.PAGE.write_text(report.page(kept), encoding="utf-8")
    if "scaling" in kept:
        report.draw(kept["scaling"])


def one(family: str, repeats: int, record: bool) -> None:
    """Measures one family, here."""
    date, conditions = datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes"), machine()
    rows = measured(family, repeats)
    print(f"{report.table(rows)}\n{conditions['threads']} threads, load {conditions['load']}\n", flush=True)
    if record:
        report.keep(family, rows, conditions, date, repeats)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=FAMILIES, default=FAMILIES, help="families to measure")
    parser.add_argument("--repeats", type=int, default=REPEATS, help="rounds of timing")
    parser.add_argument("--record", action="store_true", help="keep the figures")
    parser.add_argument("--page", action="store_true", help="measure nothing, write the page anew")
    chosen = parser.parse_args()
    if len(chosen.only) == 1 and not chosen.page:
        one(chosen.only[0], chosen.repeats, chosen.record)
    elif not chosen.page:
        again = [sys.executable, str(Path(__file__)), "--repeats", str(chosen.repeats), *["--record"] * chosen.record]
        for family in chosen.only:
            subprocess.run([*again, "--only", family], check=True)
    if chosen.page or chosen.record:
        write_page()


if __name__ == "__main__":
    main()
