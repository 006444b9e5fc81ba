"""What a run leaves on disk, compared byte for byte with what an uninterrupted one leaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import attrs
from children import Ended, finish
from tiny_recipes import METHODS

Launch: TypeAlias = Callable[[Sequence[str], Path, Callable[[], object]], Ended]
"""Runs ``chainkit WORDS`` to its end, as :func:`children.finish` does."""


def left_by(run: Path) -> dict[str, bytes]:
    """All that training leaves.

    These are the last checkpoint, with weights, their average, the optimiser's state and the place in
    the run from which all random numbers follow; the final weights; the stream of metrics; the figures.

    Arguments:
        run: The run directory.
    """
    last = max((run / "checkpoints").iterdir(), default=run / "checkpoints")
    files = [*last.iterdir(), *(run / "final").iterdir(), run / "metrics.jsonl", run / "evaluation.json"]
    return {str(file.relative_to(run)): file.read_bytes() for file in files}


def leftovers(folder: Path) -> list[str]:
    """Temporary files, at any depth."""
    return sorted(str(path.relative_to(folder)) for pattern in (".*.tmp", ".*.old") for path in folder.rglob(pattern))


@attrs.frozen
class Whole:
    """A run that nothing disturbed.

    Arguments:
        recipe: Its recipe.
        left: What it left.
        launch: How it is run, and taken up.
    """

    recipe: Path
    left: Mapping[str, bytes]
    launch: Launch = finish

    @classmethod
    def of(cls, method: str, folder: Path, before: Callable[[], object] = lambda: None, launch: Launch = finish) -> Whole:
        """Runs a method's small recipe.

        Arguments:
            method: The method.
            folder: Where to.
            before: Called in the process that runs it, first.
            launch: How to run it.

        Raises:
            RuntimeError: It does not end well, which says nothing about faults.
        """
        folder.mkdir(parents=True, exist_ok=True)
        recipe, run = folder / "recipe.toml", folder / "whole"
        recipe.write_text(METHODS[method], encoding="utf-8")
        ended = launch(["run", str(recipe), "--out", str(run)], folder / "whole.txt", before)
        if ended.code:
            raise RuntimeError(f"an undisturbed run of {method} ends with {ended.code}:\n{ended.said}")
        return cls(recipe, left_by(run), launch)

    def begin(self, run: Path) -> list[str]:
        """The words that start this run in another directory."""
        return ["run", str(self.recipe), "--out", str(run)]

    def again(self, run: Path) -> list[str]:
        """The words that take up a run, or start it where it has not come to be one."""
        return ["resume", str(run)] if (run / "resolved.toml").exists() else self.begin(run)

    def fault(self, run: Path, ended: Ended) -> str:
        """What is wrong with a run that was taken up and ended; nothing if it is this one."""
        if ended.code:
            return f"taken up, it ends with {ended.code}: {ended.said[-1000:]}"
        if found := leftovers(run):
            return f"it leaves {', '.join(found)}"
        left = left_by(run)
        other = sorted(name for name in left.keys() | self.left.keys() if left.get(name) != self.left.get(name))
        return f"it differs in {', '.join(other)}" if other else ""

    def fault_of_resuming(self, run: Path, before: Callable[[], object] = lambda: None) -> str:
        """The same, once it is taken up.

        Arguments:
            run: The run directory.
            before: Called in the process that takes it up, first.
        """
        return self.fault(run, self.launch(self.again(run), run.with_name(f"{run.name}-again.txt"), before))
