"""Figures of a run: estimators applied to the reported weights, kept with all that they depend on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs
import cattrs

from chainkit.errors import CheckpointError, NonFiniteError
from chainkit.estimator import Estimate
from chainkit.files import write_text


def checked(estimate: Estimate) -> Estimate:
    """The estimate, if it is a number.

    Raises:
        NonFiniteError: It is not.
    """
    if estimate.value != estimate.value or abs(estimate.value) == float("inf"):
        raise NonFiniteError(f"{estimate.name}: the estimate on {estimate.split} is {estimate.value} {estimate.unit}")
    return estimate


def to_json(estimate: Estimate, weights: str, asked: Mapping[str, Any] | None = None, data: str | None = None) -> dict[str, Any]:
    """An estimate as it stands in ``evaluation.json``.

    Arguments:
        estimate: The estimate.
        weights: Which weights it is about, in words.
        asked: The table of the recipe that asked for it, every default written out, where it is known.
        data: The fingerprint of the split, where it is known.
    """
    known = {key: value for key, value in (("asked", asked), ("data", data)) if value is not None}
    return {**attrs.asdict(estimate), **known, "error": estimate.error, "bits_per_dim": estimate.bits_per_dim, "weights": weights}


def from_json(record: Mapping[str, Any]) -> Estimate:
    """The estimate that :func:`to_json` made a record of."""
    return cattrs.structure(record, Estimate)


def write_evaluation(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """Adds records to an evaluation file, replacing those of the same figure on the same examples."""

    def identity(record: dict[str, Any]) -> tuple[Any, ...]:
        figure = tuple(record[key] for key in ("name", "meaning", "split", "examples", "walks", "seed", "weights"))
        return *figure, json.dumps(without_memory(record.get("asked")), sort_keys=True)

    kept = {identity(record): record for record in [*read_evaluation(path), *records]}
    write_text(path, json.dumps(list(kept.values()), indent=1))


def without_memory(asked: Any) -> Any:
    """Settings without how much is held in memory at once, on which no figure depends.

    Arguments:
        asked: The table of an estimator, or anything in one.
    """
    return {key: without_memory(value) for key, value in asked.items() if key != "max_rows"} if isinstance(asked, dict) else asked


def read_evaluation(path: Path) -> list[dict[str, Any]]:
    """The records of an evaluation file, none if there is no file.

    Raises:
        CheckpointError: The file is damaged.
    """
    if not path.exists():
        return []
    try:
        records: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        for record in records:
            from_json(record), str(record["weights"])
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError, cattrs.BaseValidationError) as error:
        words = str(error).partition("\n")[0]
        raise CheckpointError(f"{path}: damaged ({words}); move it away, and evaluate again") from error
    return records


def words(estimate: Estimate) -> str:
    """An estimate in one line: value, unit, errors, bits per dimension, and what it stands beside."""
    parts = [f"{number(estimate.value)} {estimate.unit}"]
    if estimate.error_examples is not None:
        parts.append(f"± {number(estimate.error_examples)} (examples)")
    if estimate.error_walks is not None:
        parts.append(f"± {number(estimate.error_walks)} (walks)")
    more = []
    if estimate.bits_per_dim is not None:
        more.append(f"{estimate.bits_per_dim:.3f} bits/dim")
    if estimate.effective is not None:
        more.append(f"effective sample size {estimate.effective:.1f} of {estimate.walks}")
    more += [f"{name} {number(value)}" for name, value in estimate.beside.items()]
    return "; ".join([" ".join(parts), *more])


def number(value: float) -> str:
    """A number with two decimals, or with two digits where these would be lost."""
    return f"{value:.2f}" if abs(value) >= 0.1 or value == 0 else f"{value:.2g}"
