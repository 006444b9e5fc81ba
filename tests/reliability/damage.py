"""Truncations and single flipped bits in a checkpoint, and the same in files of torch.save and of safetensors alone."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import attrs
from children import finish
from leavings import Whole
from resumes import ending_after
from study import Record, tally
from tiny_recipes import UPDATES

Outcome = str
REFUSED, LOADED, UNHURT, ENDED = "refused", "loaded with other content", "loaded unchanged", "process ended"


@attrs.frozen
class Damage:
    """What is done to a file, wherever it lies and however long it is.

    Arguments:
        place: Where, as a share of the length, from 0 to below 1.
        bit: Which bit of that byte is flipped; None cuts the file there.
    """

    place: float
    bit: int | None

    def done_to(self, content: bytes) -> bytes:
        """The damaged content, which is not the content."""
        position = int(self.place * len(content))
        if self.bit is None:
            return content[:position]
        return content[:position] + bytes([content[position] ^ 1 << self.bit]) + content[position + 1 :]

    def __str__(self) -> str:
        return f"{'cut' if self.bit is None else f'bit {self.bit} flipped'} at {self.place:.4%}"


def corpus(count: int, random: Random) -> list[Damage]:
    """So many damages: four flipped bits for each truncation."""
    return [Damage(random.random(), None if number % 5 == 0 else random.randrange(8)) for number in range(count)]


def damage(count: int, seed: int, folder: Path, method: str) -> Record:
    """Damages the newest checkpoint ``count`` times: it must be refused by name and the one before it chosen.

    One in 125 is taken up by the command as well, which must lead to the undisturbed run.
    """
    whole, random = Whole.of(method, folder), Random(f"{seed} {method}")
    damages = corpus(count, random)
    run = folder / "run"
    finish(whole.begin(run), folder / "run.txt", ending_after(UPDATES - 1, 15))
    newest = max((run / "checkpoints").iterdir())
    files = sorted(newest.iterdir())
    pairs = [(files[number % len(files)], item) for number, item in enumerate(damages)]

    def trials() -> Iterator[str]:
        for number, (file, item) in enumerate(pairs):
            taken_up = number % min(125, count // 2) == 0
            fault = _fault_of(item, file, run) or (taken_up and _fault_of_command(item, file, run, whole)) or ""
            yield fault and f"seed {seed}, {file.name}, {item}: {fault}"

    record = tally(trials(), files=[file.name for file in files])
    return attrs.evolve(record, comparison=_elsewhere(newest, damages, folder))


def _fault_of(item: Damage, file: Path, run: Path) -> str:
    from chainkit.bundle import read_bundle
    from chainkit.errors import CheckpointError
    from chainkit.run_directory import RunDirectory

    content = file.read_bytes()
    file.write_bytes(item.done_to(content))
    try:
        chosen, complaints = RunDirectory(run).latest_sound()
        if chosen is None or chosen >= file.parent:
            return f"{chosen} is used"
        if not any(file.name in complaint or (file.name == "manifest.json" and "manifest" in complaint) for complaint in complaints):
            return f"it is not named: {complaints}"
        try:
            read_bundle(file.parent)
        except CheckpointError:
            return ""
        return "it is read"
    finally:
        file.write_bytes(content)


def _fault_of_command(item: Damage, file: Path, run: Path, whole: Whole) -> str:
    copy = run.with_name("taken-up")
    shutil.copytree(run, copy)
    damaged = copy / file.relative_to(run)
    damaged.write_bytes(item.done_to(damaged.read_bytes()))
    ended = finish(whole.again(copy), copy.with_name("taken-up.txt"))
    fault = whole.fault(copy, ended) or ("" if "skipped a damaged checkpoint" in ended.said else "nothing is said of it")
    shutil.rmtree(copy)
    return fault


def _elsewhere(bundle: Path, damages: list[Damage], folder: Path) -> dict[str, dict[str, int]]:
    """What becomes of the same tensors, saved and read in the two usual ways, under the same damages."""
    import torch
    from safetensors.torch import load_file, save_file

    from chainkit.bundle import read_bundle

    tensors = {f"{group}.{name}": tensor for group, found in read_bundle(bundle)[0].items() for name, tensor in found.items()}
    torch.save(tensors, folder / "all.pt")
    save_file(tensors, folder / "all.safetensors")
    ways: dict[str, tuple[str, Callable[[Path], dict[str, Any]]]] = {
        "torch.load": ("all.pt", lambda path: torch.load(path, weights_only=True)),
        "safetensors": ("all.safetensors", load_file),
    }
    return {name: dict(Counter(_outcomes(folder / file, load, tensors, damages))) for name, (file, load) in ways.items()}


def _outcomes(file: Path, load: Callable[[Path], dict[str, Any]], expected: dict[str, Any], damages: list[Damage]) -> Iterator[Outcome]:
    """In forked children, each of which goes on until it is done or ended by what it reads."""
    content, left, kept = file.read_bytes(), damages, file.with_suffix(".outcomes")
    while left:
        kept.write_text("")
        pid = os.fork()
        if not pid:
            try:
                with kept.open("a", buffering=1) as lines:
                    for item in left:
                        file.write_bytes(item.done_to(content))
                        lines.write(_outcome(file, load, expected) + "\n")
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        done = kept.read_text().splitlines()
        yield from done
        if len(done) < len(left):
            yield ENDED
        left = left[len(done) + 1 :]


def _outcome(file: Path, load: Callable[[Path], dict[str, Any]], expected: dict[str, Any]) -> Outcome:
    try:
        found = load(file)
        same = found.keys() == expected.keys() and all(_same(found[name], tensor) for name, tensor in expected.items())
    except Exception:
        return REFUSED
    return UNHURT if same else LOADED


def _same(found: Any, expected: Any) -> bool:
    return found.shape == expected.shape and found.dtype == expected.dtype and found.numpy().tobytes() == expected.numpy().tobytes()
