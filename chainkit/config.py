"""Validators for config classes: ``rate: float = attrs.field(default=0.1, validator=between(0, 1))``.

Their messages say what is wrong with the value; the recipe reader puts the dotted key in front.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

Validator: TypeAlias = Callable[[Any, Any, Any], None]


def _require(test: Callable[[Any], bool], words: str) -> Validator:
    def validate(instance: Any, attribute: Any, value: Any) -> None:
        for item in value if isinstance(value, (list, tuple)) else [value]:
            if item is not None and not test(item):
                raise ValueError(f"must be {words}, not {item!r}")

    return validate


def above(low: float) -> Validator:
    """The value, or every item of a list, exceeds ``low``."""
    return _require(lambda value: value > low, f"above {low}")


def below(high: float) -> Validator:
    """The value, or every item of a list, is less than ``high``."""
    return _require(lambda value: value < high, f"below {high}")


def at_least(low: float) -> Validator:
    """The value, or every item of a list, is ``low`` or more."""
    return _require(lambda value: value >= low, f"{low} or more")


def between(low: float, high: float) -> Validator:
    """The value, or every item of a list, lies in [low, high]."""
    return _require(lambda value: low <= value <= high, f"between {low} and {high}")


def not_empty(instance: Any, attribute: Any, value: Any) -> None:
    """The list has at least one item."""
    if not len(value):
        raise ValueError("must not be empty")
