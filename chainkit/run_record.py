"""What a run left on disk, read without building anything and without importing torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import cattrs

from chainkit.errors import ChainkitError, CheckpointError
from chainkit.estimator import Estimate
from chainkit.evaluation import checked, from_json, read_evaluation, without_memory, words
from chainkit.files import require_plain
from chainkit.recipe.toml import parse, read_file


@attrs.frozen(kw_only=True)
class Environment:
    """What ``environment.json`` says of where the run was made; fields that it lacks are empty.

    Arguments:
        chainkit: Version.
        python: Version.
        torch: Version.
        packages: Versions of other packages, by name.
        plugins: Distribution and version of each plugin, by its id.
        platform: Operating system.
        device: Where it was computed.
        threads: How many in each process; 0 is unknown.
        processes: How many shared out every batch; 0 is unknown.
        git: ``commit``, and ``dirty``, whether files had been changed since; None outside of a repository.
        overrides: ``key=value`` settings that replaced those of the recipe.
        command: The words of the command line.
        continued: What was another when the run went on elsewhere, and from which update on.
    """

    chainkit: str = ""
    python: str = ""
    torch: str = ""
    packages: dict[str, str] = attrs.field(factory=dict)
    plugins: dict[str, str] = attrs.field(factory=dict)
    platform: str = ""
    device: str = ""
    threads: int = 0
    processes: int = 0
    git: dict[str, Any] | None = None
    overrides: list[str] = attrs.field(factory=list)
    command: list[str] = attrs.field(factory=list)
    continued: list[dict[str, Any]] = attrs.field(factory=list)


@attrs.frozen(kw_only=True)
class Figure:
    """A figure of a run.

    Arguments:
        estimate: The figure.
        weights: Which weights it is about, in words.
        data: The fingerprint of the split, where it was kept.
        settings: What the estimator was asked for, every default written out, but for how much is in memory at once; empty
            where it was not kept.
    """

    estimate: Estimate
    weights: str
    data: str | None = None
    settings: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True, repr=False)
class RunRecord:
    """A run as its directory tells it, ended or not.

    Arguments:
        path: The directory.
        given: The recipe's text as it was given.
        resolved: The recipe's text with overrides applied and every default written out.
        recipe: The tables of the latter.
        environment: Versions, device and command.
        metrics: The lines of ``metrics.jsonl``.
        final: ``weights``, ``update`` and ``epoch`` of what is reported; None before training has ended.
        figures: The figures.
        pictures: The pictures, PNG files, by name.
        words: What was run, in one sentence.
    """

    path: Path
    given: str
    resolved: str
    recipe: Mapping[str, Any]
    environment: Environment
    metrics: tuple[Mapping[str, Any], ...]
    final: Mapping[str, Any] | None
    figures: tuple[Figure, ...]
    pictures: tuple[Path, ...]
    words: str

    @property
    def title(self) -> str:
        """The recipe's title, or the name of the directory."""
        return self.recipe.get("title") or self.path.resolve().name

    def __repr__(self) -> str:
        figures = [f"{figure.estimate.name}: {words(figure.estimate)}" for figure in self.figures] or ["no figures yet"]
        return "\n  ".join([f"Run {self.path}: {self.title}", self.words, *figures])


def read_record(path: Path) -> RunRecord:
    """Reads a run directory.

    Arguments:
        path: The directory.

    Raises:
        CheckpointError: It is not the directory of a run, or a file in it is damaged; the message names it.
    """
    if not (path / "resolved.toml").is_file():
        raise CheckpointError(f"{path}: not a run directory (it has no resolved.toml)")
    require_plain(path)
    try:
        resolved = read_file(path / "resolved.toml")
        recipe, final = parse(resolved, str(path / "resolved.toml")), _json(path / "final" / "state.json")
        return RunRecord(
            path=path,
            given=read_file(path / "recipe.toml") if (path / "recipe.toml").exists() else "",
            resolved=resolved,
            recipe=recipe,
            environment=read_environment(path),
            metrics=_lines(path / "metrics.jsonl"),
            final=final,
            figures=_figures(path / "evaluation.json"),
            pictures=tuple(sorted((path / "pictures").glob("*.png"))),
            words=_words(recipe, final),
        )
    except ChainkitError as error:
        raise CheckpointError(str(error)) from error
    except (LookupError, TypeError, ValueError, AttributeError, cattrs.BaseValidationError) as error:
        raise CheckpointError(f"{path}: damaged, its files are not as a run writes them ({type(error).__name__})") from error


def read_environment(path: Path) -> Environment:
    """What ``environment.json`` says; without such a file, nothing.

    Arguments:
        path: The directory of the run.

    Raises:
        CheckpointError: The file is damaged.
    """
    file = path / "environment.json"
    try:
        return cattrs.structure({**_json(file, {})}, Environment)
    except (TypeError, ValueError, cattrs.BaseValidationError) as error:
        raise CheckpointError(f"{file}: damaged, it is not as a run writes it ({type(error).__name__})") from error


def _words(recipe: Mapping[str, Any], final: Mapping[str, Any] | None) -> str:
    chain, (data, process, objective) = recipe["chain"], (recipe[kind]["type"] for kind in ("data", "process", "objective"))
    learned = "training has not ended" if final is None else f"{final['weights']}, {final['epoch']} epochs"
    steps = f"{chain['steps']} steps" if "steps" in chain else "steps"
    return f"{steps} of {chain['operator']['type']} on {data}, process {process}, objective {objective}; {learned}"


def _json(path: Path, absent: Any = None) -> Any:
    """The content of a JSON file, or what stands for it where there is none."""
    return _parsed(path.read_text(encoding="utf-8"), path) if path.exists() else absent


def _lines(path: Path) -> tuple[Any, ...]:
    return tuple({**_parsed(line, path)} for line in path.read_text(encoding="utf-8").splitlines()) if path.exists() else ()


def _parsed(text: str, path: Path) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: damaged ({error})") from error


def _figures(path: Path) -> tuple[Figure, ...]:
    records = read_evaluation(path)
    return tuple(
        Figure(
            estimate=checked(from_json(one)),
            weights=str(one["weights"]),
            data=one.get("data"),
            settings=without_memory({**one.get("asked", {})}),
        )
        for one in records
    )
