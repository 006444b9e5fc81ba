"""The grid of a sweep: keys of a recipe, the values that each takes, and the settings that these make."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence

import attrs

from chainkit.errors import RecipeError
from chainkit.recipe.override import read_value

LONGEST = 40
"""Letters of a value in the name of a directory."""


@attrs.frozen(kw_only=True)
class Axis:
    """A key of the recipe with the values that it takes.

    Arguments:
        key: Dotted key.
        values: The values, as TOML or plain words; one or more.
    """

    key: str
    values: tuple[str, ...]

    @property
    def numbers(self) -> list[float] | None:
        """The values as numbers; None if one of them is none."""
        parsed = [read_value(value) for value in self.values]
        return None if any(isinstance(value, bool) or not isinstance(value, (int, float)) for value in parsed) else list(map(float, parsed))


@attrs.frozen(kw_only=True)
class Point:
    """One run of a sweep.

    Arguments:
        settings: The value of every key of the grid, as it was written.
        seed: The training seed.
        name: The name of its run directory.
    """

    settings: Mapping[str, str]
    seed: int
    name: str

    @property
    def overrides(self) -> list[str]:
        """What ``--set`` takes."""
        return [*assignments(self.settings), f"seed={self.seed}"]


def assignments(settings: Mapping[str, str]) -> list[str]:
    """Settings in the form ``key=value``."""
    return [f"{key}={value}" for key, value in settings.items()]


def read_axis(text: str) -> Axis:
    """An axis from ``KEY=V1,V2,...``.

    Values are parted by commas outside of quotes, brackets and braces, so that lists and tables are
    values too: ``chain.operator.network.hidden=[64],[64,64]``.

    Raises:
        RecipeError: It is not of this form, or a value appears twice.
    """
    key, equals, given = (part.strip() for part in text.partition("="))
    try:
        if not equals or not all(key.split(".")):
            raise ValueError("is not of the form key=value,value, such as chain.steps=5,10")
        values = tuple(_values(given))
        parsed = [read_value(value) for value in values]
        if repeated := [value for place, value in enumerate(values) if parsed.index(read_value(value)) < place]:
            raise ValueError(f"{repeated[0]} appears twice")
    except ValueError as error:
        raise RecipeError(f"--grid {text}: {error}") from None
    return Axis(key=key, values=values)


def _values(text: str) -> Iterator[str]:
    """The shortest pieces between commas that can be read as values."""
    piece: str | None = None
    for part in text.split(","):
        piece = part if piece is None else f"{piece},{part}"
        if _readable(piece.strip()):
            yield piece.strip()
            piece = None
    if piece is not None:
        read_value(piece.strip())  # says what is wrong with it


def _readable(text: str) -> bool:
    try:
        read_value(text)
    except ValueError:
        return False
    return True


def combinations(axes: Sequence[Axis]) -> list[dict[str, str]]:
    """Every setting of the grid; the last key changes fastest."""
    return [dict(zip([axis.key for axis in axes], values, strict=True)) for values in itertools.product(*[axis.values for axis in axes])]


def points(axes: Sequence[Axis], seeds: Sequence[int]) -> list[Point]:
    """The runs of a sweep: every setting of the grid with every training seed.

    Arguments:
        axes: The grid.
        seeds: Training seeds.
    """
    short = short_keys([axis.key for axis in axes])

    def name(settings: Mapping[str, str], seed: int) -> str:
        return "_".join([*[f"{short[key]}={_in_a_name(value)}" for key, value in settings.items()], f"seed={seed}"])

    return [Point(settings=settings, seed=seed, name=name(settings, seed)) for settings in combinations(axes) for seed in seeds]


def short_keys(keys: Sequence[str]) -> dict[str, str]:
    """The last word of every key; whole keys where these are not unique."""
    last = [key.rpartition(".")[2] for key in keys]
    return dict(zip(keys, last if len(set(last)) == len(keys) else keys, strict=True))


def _in_a_name(value: str) -> str:
    """A value as part of a file name; what that does not tell apart is told by a digest."""
    plain = value.strip("\"'")
    kept = re.sub(r"[^A-Za-z0-9.+-]+", "-", plain).strip("-")[:LONGEST]
    return kept if kept == plain else f"{kept}-{hashlib.sha256(value.encode()).hexdigest()[:6]}"
