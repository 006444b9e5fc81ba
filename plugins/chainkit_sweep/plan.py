"""The plan of a sweep: which runs it consists of, by which commands they are made, and how far each is."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias

import attrs
import cattrs

from chainkit.errors import CheckpointError, RecipeError
from chainkit.files import write_text
from chainkit.recipe import read_recipe
from chainkit.registry import Registry
from chainkit.run_record import RunRecord, read_record
from chainkit_sweep.grid import Axis, Point, assignments, combinations, points

State: TypeAlias = Literal["new", "begun", "finished"]
FILE = "sweep.json"


@attrs.frozen(kw_only=True, slots=False)
class Sweep:
    """A recipe at every point of a grid.

    Arguments:
        recipe: The recipe as it was named on the command line.
        text: Its text.
        overrides: ``key=value`` settings of every point.
        axes: The grid.
        seeds: Training seeds of every setting.
        folder: Where the run directories are.
    """

    recipe: str
    text: str
    overrides: tuple[str, ...]
    axes: tuple[Axis, ...]
    seeds: tuple[int, ...]
    folder: Path

    @cached_property
    def points(self) -> list[Point]:
        """The runs, those of one setting one after the other."""
        return points(self.axes, self.seeds)

    def directory(self, point: Point) -> Path:
        """The run directory of a point."""
        return self.folder / point.name

    def command(self, point: Point) -> list[str]:
        """The words of the command line that bring a point to its end, whether it was begun or not."""
        if self.state(point) == "begun":
            return ["resume", str(self.directory(point))]
        sets = [word for override in (*self.overrides, *point.overrides) for word in ("--set", override)]
        return ["run", self.recipe, *sets, "--out", str(self.directory(point))]

    def record(self, point: Point) -> RunRecord | None:
        """What the run directory of a point tells; None where there is none.

        Raises:
            CheckpointError: It is damaged.
        """
        directory = self.directory(point)
        return read_record(directory) if (directory / "resolved.toml").is_file() else None

    def state(self, point: Point) -> State:
        """How far a point is; one whose files are damaged counts as begun, so that resuming it tells what is wrong."""
        try:
            record = self.record(point)
        except CheckpointError:
            return "begun"
        if record is None:
            return "new"
        wanted = len(record.recipe.get("evaluate", {}).get("estimators", []))
        return "finished" if record.final is not None and len(record.figures) >= wanted else "begun"

    def write(self) -> None:
        """Writes ``sweep.json``."""
        runs = [{"run": point.name, "settings": dict(point.settings), "seed": point.seed} for point in self.points]
        asked = {field: getattr(self, field) for field in ("recipe", "overrides", "seeds", "text")}
        grid = {axis.key: axis.values for axis in self.axes}
        write_text(self.folder / FILE, json.dumps({**asked, "grid": grid, "runs": runs}, indent=1) + "\n")


def read_sweep(folder: Path) -> Sweep:
    """The sweep of a directory.

    Raises:
        CheckpointError: There is none, or its file is damaged.
    """
    try:
        kept = json.loads((folder / FILE).read_text(encoding="utf-8"))
        axes = [{"key": key, "values": values} for key, values in kept["grid"].items()]
        return cattrs.structure({**kept, "axes": axes, "folder": folder}, Sweep)
    except FileNotFoundError:
        raise CheckpointError(f"{folder}: not the directory of a sweep (it has no {FILE})") from None
    except (ValueError, KeyError, TypeError, AttributeError, cattrs.BaseValidationError) as error:
        raise CheckpointError(f"{folder / FILE}: damaged ({type(error).__name__})") from error


def check_folder(sweep: Sweep) -> None:
    """Makes sure that a directory holds no other sweep; more values and more seeds of the same one are welcome.

    Raises:
        RecipeError: It does, or it is not a directory.
        CheckpointError: The sweep in it is damaged.
    """
    if sweep.folder.exists() and not sweep.folder.is_dir():
        raise RecipeError(f"{sweep.folder}: is not a directory")
    if not (sweep.folder / FILE).exists():
        return
    kept = read_sweep(sweep.folder)
    differ = {
        "recipe": kept.text != sweep.text,
        "settings": kept.overrides != sweep.overrides,
        "keys": [axis.key for axis in kept.axes] != [axis.key for axis in sweep.axes],
    }
    if names := [name for name, other in differ.items() if other]:
        raise RecipeError(f"{sweep.folder}: holds a sweep with other {' and '.join(names)}; choose another --out")


def first_seed(path: Path, registry: Registry, overrides: Sequence[str], axes: Sequence[Axis]) -> int:
    """Checks the recipe at every setting of a grid.

    Arguments:
        path: The recipe's file.
        registry: Where its components are looked up.
        overrides: ``key=value`` settings of every point.
        axes: The grid.

    Returns:
        The seed that the recipe itself has.

    Raises:
        RecipeError: It cannot be used at some of them. What is wrong everywhere is said once.
    """
    problems: dict[str, list[str]] = {}
    grid, seed = combinations(axes), 0
    for settings in grid:
        try:
            seed = read_recipe(path, registry, [*overrides, *assignments(settings)]).seed
        except RecipeError as error:
            for problem in error.problems:
                problems.setdefault(problem, []).append(" ".join(assignments(settings)))
    if problems:
        raise RecipeError(*[_located(problem, places, len(grid)) for problem, places in problems.items()])
    return seed


def _located(problem: str, places: Sequence[str], everywhere: int) -> str:
    return problem if len(places) == everywhere else f"{problem} (at {'; '.join(places)})"


def make_sweep(recipe: str, path: Path, overrides: Sequence[str], axes: Sequence[Axis], seeds: Sequence[int], folder: Path) -> Sweep:
    """A sweep that was asked for.

    Arguments:
        recipe: The recipe as it was named.
        path: Its file.
        overrides: ``key=value`` settings of every point.
        axes: The grid.
        seeds: Training seeds.
        folder: Where the run directories go.

    Raises:
        RecipeError: A key appears twice, or is that of the seed.
    """
    keys = [axis.key for axis in axes]
    fixed = [override.partition("=")[0].strip() for override in overrides]
    for place, key in enumerate(keys):
        if key == "seed":
            raise RecipeError("--grid seed: training seeds are asked for by --seeds")
        if key in keys[:place] or key in fixed:
            raise RecipeError(f"--grid {key}: is set twice")
    text = path.read_text(encoding="utf-8")
    return Sweep(recipe=recipe, text=text, overrides=tuple(overrides), axes=tuple(axes), seeds=tuple(seeds), folder=folder)


def shell_line(words: Sequence[str]) -> str:
    """A command as a shell reads it.

    Arguments:
        words: Those after ``chainkit``.
    """
    return shlex.join(["chainkit", *words])


def as_json(sweep: Sweep) -> list[Mapping[str, Any]]:
    """The plan as JSON: every point with its state and, where it is not finished, its command."""
    return [
        {
            "run": str(sweep.directory(point)),
            "settings": dict(point.settings),
            "seed": point.seed,
            "state": (state := sweep.state(point)),
            "command": None if state == "finished" else ["chainkit", *sweep.command(point)],
        }
        for point in sweep.points
    ]
