"""Data on standard output."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click

from chainkit.reporting import visible

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def emit(data: Any) -> None:
    """Prints data as JSON."""
    click.echo(json.dumps(data, indent=2, allow_nan=False))


def say(line: str) -> None:
    """Prints words, to standard error."""
    print(visible(line), file=sys.stderr)


def show(lines: Iterable[str]) -> None:
    """Prints words that were asked for, to standard output."""
    click.echo(visible("\n".join(lines)))


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of the same length as lines, their cells below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def table(rows: Sequence[Sequence[str]]) -> None:
    """Prints rows in columns.

    Arguments:
        rows: Rows of the same length.
    """
    show(columns([[visible(cell) for cell in row] for row in rows]))
