"""What the reliability studies found, kept: ``docs/records/reliability`` and the page ``docs/reliability.md``."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from studies import STUDIES
from study import Study

PAGE = """# Reliability

Written by `python tests/reliability/run.py --record` (`make reliability`: hours). Small recipes of every
shipped method are killed, stopped, damaged and left without room, and taken up with `chainkit resume`.
What counts as held, where nothing else is said: the command leaves with the right exit code, leaves
nothing temporary, and the run that was taken up leaves the same bytes as one that nothing disturbed:
weights, their average, the optimiser's state, the place in the run from which all random numbers follow,
the final weights, every line of `metrics.jsonl`, and `evaluation.json`.

## What is promised

- **kill -9 at any moment**: the newest complete checkpoint is there, and the resumed run is the
  undisturbed one. What was done since that checkpoint is done again.
- **Damage**: sizes and sha256 of all files of a checkpoint are compared before anything is read. A damaged
  checkpoint is refused by name and the one before it is used; if none is sound, that is an error.
- **No space, no permission, I/O errors**: the command ends with 4, and every earlier checkpoint is intact.
- **One of several processes killed**: the others end, within the half minute that torchrun gives them, and the run is
  taken up like any other, bit for bit with the same number of processes.
- **SIGTERM, SIGINT and SIGHUP**: the run stops within one update and one save, and leaves with 143, 130 or 129. A second
  signal stops at once, unless it is SIGHUP.
- **One process** works on a run directory. The lock goes with its holder, however it ends.
- **NaN and infinity** in a loss, a gradient or a parameter: the command ends with 5, the update is not applied, its
  message names where the number came from, and no checkpoint holds a parameter that is not finite.
- **Recipes and run directories are data**, whoever wrote them: nothing in them is run, nothing is read or written
  elsewhere through them, and what is wrong with them is said in words, with 2, 4 or 5.

## What is not

- The digests find damage, not forgery: who can write the files can write the manifest.
- Bit for bit holds on one machine and device, with the same versions and number of threads ([runs.md](runs.md#exact-resume)).
- A loss of power is not tried here. The order in which files are synced is tested: a checkpoint after the lines of the
  metrics that it counts on; one whose lines are lost all the same is passed over like a damaged one.
- A disk that lies about what it has synced, and file systems without `flock`, are outside of all this.
- What a plugin cannot write (a picture, an event file) is a warning, and the run goes on without that plugin.
- Images and downloads are kept beside the data that a recipe names, which may lie anywhere.
- A state of an optimiser that is forged to have another shape is found by the optimiser, in its first step, if at all.
- Never run: several processes through NCCL, several machines, kill -9 of a run on a CUDA device. The two processes of
  the studies are on one machine's CPU, with gloo.
- Training has no data workers and no prefetch that could be on or off.

## What was found

"""

AROUND = """
## The same damages elsewhere

The same tensors in one file, written by `torch.save` and by `safetensors` alone, under the same truncations
and flipped bits, read by `torch.load(weights_only=True)` and `safetensors.torch.load_file`. Neither promises
to notice; what they load with other content is a model with other weights and no message.

"""

OUTCOMES = ("refused", "loaded with other content", "loaded unchanged", "process ended")


def environment(root: Path) -> dict[str, str]:
    """Machine, versions and commit, in words.

    Arguments:
        root: Root of the repository.
    """
    import torch

    import chainkit

    git = subprocess.run(
        ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=10", "--exclude=*"], capture_output=True, text=True
    )
    return {
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "chainkit": chainkit.__version__,
        "commit": git.stdout.strip(),
    }


def write_records(root: Path, results: Sequence[Mapping[str, Any]]) -> None:
    """Writes one record for each study, of the largest trial of each method, and the page.

    Arguments:
        root: Root of the repository.
        results: All that is known.
    """
    folder = root / "docs" / "records" / "reliability"
    folder.mkdir(parents=True, exist_ok=True)
    for study in STUDIES:
        found = [largest(results, study.name, method) for method in study.methods]
        if kept := [result for result in found if result]:
            text = json.dumps({"study": study.name, "results": kept}, indent=1, ensure_ascii=False)
            (folder / f"{study.name}.json").write_text(text + "\n", encoding="utf-8")
    (root / "docs" / "reliability.md").write_text(page(folder), encoding="utf-8")


def largest(results: Iterable[Mapping[str, Any]], study: str, method: str) -> Mapping[str, Any] | None:
    """The result of the largest trial of a study on a method, the last of equals; None if there is none."""
    found = [result for result in results if (result["study"], result["method"]) == (study, method)]
    return max(reversed(found), key=lambda result: result["record"]["tried"], default=None)


def page(folder: Path) -> str:
    """The page of the records in a folder."""
    kept = {study.name: _results(folder / f"{study.name}.json") for study in STUDIES}
    rows = [_row(study, result) for study in STUDIES for result in kept[study.name]]
    compared = [
        [result["method"], way, *(str(counts.get(outcome, 0)) for outcome in OUTCOMES)]
        for results in kept.values()
        for result in results
        for way, counts in _compared(result["record"])
    ]
    parts = [
        PAGE,
        _table(("study", "method", "tried", "held", "minutes", "what"), rows),
        "\n## Notes\n\n",
        *(f"- {study.name}, {result['method']}: {_words(result['record'])}\n" for study in STUDIES for result in kept[study.name]),
        AROUND,
        _table(("method", "read by", *OUTCOMES), compared),
        "\n## Where\n\n",
        *(f"- {words}\n" for words in dict.fromkeys(_where(result) for results in kept.values() for result in results)),
    ]
    return "".join(parts)


def _results(file: Path) -> list[Mapping[str, Any]]:
    return json.loads(file.read_text(encoding="utf-8"))["results"] if file.exists() else []


def _row(study: Study, result: Mapping[str, Any]) -> list[str]:
    record = result["record"]
    held = "skipped" if record["skipped"] else str(record["held"])
    return [study.name, result["method"], f"{record['tried']} {study.unit}", held, f"{record['seconds'] / 60:.1f}", study.title]


def _compared(record: Mapping[str, Any]) -> list[tuple[str, Mapping[str, int]]]:
    """Outcomes by what read the file, chainkit first; nothing where nothing was compared."""
    if not record["comparison"]:
        return []
    own = {OUTCOMES[0]: record["held"], OUTCOMES[1]: record["tried"] - record["held"]}
    return [("chainkit", own), *record["comparison"].items()]


def _words(record: Mapping[str, Any]) -> str:
    details = "; ".join(f"{name}: {_plain(value)}" for name, value in record["details"].items())
    skipped = f"skipped, {record['skipped']}" if record["skipped"] else ""
    failure = f"first failure: `{record['failure'][:300]!r}`" if record["failure"] else ""
    return "; ".join(filter(None, [details, skipped, failure])) or "nothing to add"


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {count}" for name, count in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _where(result: Mapping[str, Any]) -> str:
    found = result["environment"]
    return f"{found['machine']}; Python {found['python']}, torch {found['torch']}, chainkit {found['chainkit']}, commit {found['commit']}"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(line)} |\n" for line in [header, ["---"] * len(header), *rows])
