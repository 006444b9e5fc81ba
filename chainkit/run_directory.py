"""A run is a directory.

::

    recipe.toml         the recipe as it was given
    resolved.toml       the same with overrides applied and every default written out
    environment.json    versions of chainkit, torch and every plugin, git commit, device, overrides
    metrics.jsonl       one line per logged update
    checkpoints/        bundles by update number (:mod:`chainkit.bundle`)
    final/              the weights that figures and samples use
    evaluation.json     the figures, with units and errors
    evaluating/         what a stopped evaluation has worked out so far
    pictures/           what plugins drew
"""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from chainkit.bundle import STATE, as_written, verify
from chainkit.errors import CheckpointError, RecipeError
from chainkit.files import LOCK, locked, require_plain, tidy, write_text

_UNFINISHED = {LOCK, "recipe.toml", "environment.json", ".recipe.toml.tmp", ".environment.json.tmp", ".resolved.toml.tmp"}
"""All that a directory can hold whose making was killed; ``resolved.toml`` makes it a run."""


def fresh_path(root: Path, name: str) -> Path:
    """Makes the folder ``root/name``, or the first of ``root/name-2``, ... that does not exist: no other process gets the same.

    Arguments:
        root: Where it is made; made too, if it does not exist.
        name: What it is called, if that is free.

    Raises:
        OSError: The disk is full or not writable.
    """
    candidates = (root / (name if number == 1 else f"{name}-{number}") for number in itertools.count(1))
    return next(path for path in candidates if _made(path))


def _made(path: Path) -> bool:
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        return False
    return True


class RunDirectory:
    """The files of a run.

    Arguments:
        path: The directory, which exists.

    Raises:
        CheckpointError: It is not the directory of a run, or holds something else than files and folders.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.resolved = path / "resolved.toml"
        self.checkpoints = path / "checkpoints"
        self.final = path / "final"
        self.metrics = path / "metrics.jsonl"
        self.evaluation = path / "evaluation.json"
        self.evaluating = path / "evaluating"
        if not self.resolved.is_file():
            raise CheckpointError(f"{path}: not a run directory (it has no resolved.toml)")
        require_plain(path)

    @classmethod
    @contextmanager
    def making(cls, path: Path, given: str, resolved: str, environment: dict[str, Any]) -> Iterator[RunDirectory]:
        """Makes the directory of a new run, and holds it while inside; if that fails, nothing is left behind.

        One whose making was killed is made anew.

        Arguments:
            path: The directory to be.
            given: The recipe's text as it was given.
            resolved: The recipe's text with every default written out.
            environment: What ``environment.json`` says.

        Raises:
            RecipeError: The path exists and is not an empty folder; nothing in it is touched.
            RunBusyError: Another process is making it.
            OSError: The disk is full or not writable.
        """
        _refuse_taken(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            with locked(path):
                _refuse_taken(path)  # by a process that was quicker
                try:
                    write_text(path / "recipe.toml", given)
                    write_text(path / "environment.json", json.dumps(environment, indent=1))
                    write_text(path / "resolved.toml", resolved)
                    yield cls(path)
                except BaseException:
                    shutil.rmtree(path, ignore_errors=True)
                    raise
        except OSError:
            with suppress(OSError):
                path.rmdir()  # without room for the lock it is empty
            raise

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the run for this process; the lock goes with the process, however it ends.

        What a killed writer left half done is put right first.

        Raises:
            RunBusyError: Another process holds it.
        """
        with locked(self.path):
            for folder in (self.path, self.checkpoints):
                tidy(folder)
            yield

    def saved(self) -> list[Path]:
        """The checkpoints, oldest first, sound or not."""
        if not self.checkpoints.is_dir():
            return []
        return sorted(path for path in self.checkpoints.iterdir() if path.is_dir() and path.name.isdigit())

    def latest_sound(self) -> tuple[Path | None, list[str]]:
        """The newest sound checkpoint, and what is wrong with newer ones.

        Sound is one whose files are intact, and all of the metrics that were logged before it.

        Returns:
            The checkpoint, or None if none was ever written, and the complaints.

        Raises:
            CheckpointError: There are checkpoints, and none is sound.
        """
        complaints = []
        for path in reversed(self.saved()):
            try:
                self._require_sound(path)
            except CheckpointError as error:
                complaints.append(str(error))
            else:
                return path, complaints
        if complaints:
            raise CheckpointError("\n".join([*complaints, f"{self.checkpoints}: no checkpoint is sound"]))
        return None, complaints

    def _require_sound(self, checkpoint: Path) -> None:
        verify(checkpoint)
        with as_written(checkpoint):
            counted = json.loads((checkpoint / STATE).read_text(encoding="utf-8"))["metrics_size"]
            lost = counted - (self.metrics.stat().st_size if self.metrics.exists() else 0)
        if lost > 0:
            raise CheckpointError(f"{checkpoint}: {self.metrics.name} has lost {lost} bytes that it had by then")


def _refuse_taken(path: Path) -> None:
    present = {file.name for file in path.iterdir()} if path.is_dir() else set()
    unfinished = LOCK in present and present <= _UNFINISHED
    if path.exists() and (not path.is_dir() or (present and not unfinished)):
        raise RecipeError(f"{path}: exists; continue it with `chainkit resume {path}`, or choose another --out")
