"""Hostile files: every command refuses them or does its work, and does nothing else."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random

from children import finish, start
from fuzz_recipes import CONTROL
from hostile_recipes import RECIPES, SOUND, Lay
from hostile_runs import RUNS, Spoil
from hostile_watch import SECONDS, SECRET, Case, Result, serve
from study import Record, tally

ON_RUNS = (["resume", "run"], ["sample", "run", "-n", "2"], ["evaluate", "run"], ["report", "run"], ["compare", "run", "run"])
ON_RECIPES = (["check", "recipe.toml"], ["run", "recipe.toml", "--out", "run"])


def prepared(folder: Path) -> Path:
    """A sound run that has ended.

    Arguments:
        folder: Where it is made, as ``sound``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.toml").write_text(SOUND, encoding="utf-8")
    ended = finish(["run", str(folder / "recipe.toml"), "--out", str(folder / "sound")], folder / "sound.txt")
    if ended.code:
        raise RuntimeError(f"the sound run ends with {ended.code}:\n{ended.said}")
    return folder / "sound"


def stage(folder: Path, sound: Path, name: str, spoil: Spoil, ended: bool) -> Case:
    """A case: a copy of the run, spoilt, beside files that are nobody's business.

    Arguments:
        folder: Where the case is played.
        sound: The run.
        name: Of the case.
        spoil: What is done to it.
        ended: Whether its final weights are left, so that it has ended.
    """
    _beside(folder)
    run = shutil.copytree(sound, folder / "run")
    spoil(run)
    if not ended:
        shutil.rmtree(run / "final", ignore_errors=True)
    return Case(
        name=f"{name}, {'ended' if ended else 'stopped'}",
        commands=ON_RUNS,
        folder=str(folder),
        writable=[str(run)],
    )


def stage_recipe(folder: Path, name: str, lay: Lay) -> Case:
    """A case of a hostile recipe.

    Arguments:
        folder: Where the case is played.
        name: Of the case.
        lay: What writes the recipe.
    """
    _beside(folder)
    lay(folder)
    return Case(name=name, commands=ON_RECIPES, folder=str(folder), writable=[str(folder / "run")])


def _beside(folder: Path) -> None:
    (folder / "outside").mkdir(parents=True)
    (folder / "outside" / SECRET).write_text(SECRET)


def watched(cases: Sequence[Case], folder: Path) -> list[Result]:
    """What became of the cases, played one after the other in a child; it may end before all were."""
    file = folder / "results.jsonl"
    child = start(["--version"], folder / "said.txt", lambda: serve(cases, file))
    ended = child.wait(limit=SECONDS * len(cases))
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    results = [Result(**json.loads(line)) for line in lines]
    missing = cases[len(results) : len(results) + 1]
    return [
        *results,
        *(Result(name=case.name, codes=[], said="", events=[f"it ends the process: {ended.said[-800:]}"]) for case in missing),
    ]


def contents(folder: Path) -> Mapping[str, bytes]:
    """All files of a folder and what is in them."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def fault(case: Case, result: Result) -> str:
    """What is wrong with what became of a case; empty if nothing is."""
    if result.events:
        return f"{result.name}: {result.events[0]}"
    if "Traceback" in result.said or not set(result.codes) <= {0, 2, 3, 4, 5}:
        return f"{result.name}: it leaves with {result.codes}: {result.said[-1500:]}"
    if found := CONTROL.search(result.said):
        return f"{result.name}: it prints {found[0]!r}"
    if contents(Path(case.folder) / "outside") != {SECRET: SECRET.encode()}:
        return f"{result.name}: it wrote outside of the run"
    return ""


def hostile_runs(count: int, seed: int, folder: Path, method: str) -> Record:
    """``count`` spoilt runs, ended ones and stopped ones, in an order that depends on the seed; all of them if there are no more."""
    sound = prepared(folder)
    every = [(name, spoil, ended) for name, spoil in RUNS.items() for ended in (True, False)]
    Random(seed).shuffle(every)
    return _judged([stage(folder / str(number), sound, *case) for number, case in enumerate(every[:count])], folder)


def hostile_recipes(count: int, seed: int, folder: Path, method: str) -> Record:
    """``count`` hostile recipes, in an order that depends on the seed; all of them if there are no more."""
    every = list(RECIPES.items())
    Random(seed).shuffle(every)
    return _judged([stage_recipe(folder / str(number), *case) for number, case in enumerate(every[:count])], folder)


def _judged(cases: Sequence[Case], folder: Path) -> Record:
    codes: Counter[str] = Counter()

    def trials() -> Iterator[str]:
        results = watched(cases, folder)
        for case, result in zip(cases, results, strict=False):
            codes.update(map(str, result.codes))
            yield fault(case, result)
        yield from (f"{case.name}: not reached" for case in cases[len(results) :])

    return tally(trials(), codes=codes)
