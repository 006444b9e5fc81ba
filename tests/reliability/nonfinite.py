"""NaN or infinity in the data, a layer, a gradient or a parameter, from one update on."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import attrs
import torch
from children import Ended, finish
from leavings import Whole
from study import Record, tally
from tiny_recipes import UPDATES

from chainkit.batch import Batch
from chainkit.bundle import read_bundle
from chainkit.data import Data
from chainkit.training import Trainer

KINDS = ("data", "layer", "gradient", "parameter")
VALUES = (float("nan"), float("inf"), float("-inf"))
NAMED = "named.txt"


@attrs.frozen
class Trouble:
    """A number that is not finite.

    Arguments:
        kind: Where: one of :data:`KINDS`.
        update: In which update.
        value: Which number.
        pick: Which layer or parameter, counted from 0 and around.
        note: The file that takes what must be named.
    """

    kind: str
    update: int
    value: float
    pick: int
    note: Path

    def patch(self) -> None:
        """Makes the process that calls it meet the trouble."""
        update = Trainer._update

        def troubled(trainer: Trainer, *arguments: object) -> object:
            if trainer.progress.update != self.update:
                return update(trainer, *arguments)  # type: ignore[arg-type]
            self.note.write_text(getattr(self, f"_{self.kind}")(trainer))
            return update(trainer, *arguments)  # type: ignore[arg-type]

        Trainer._update = troubled  # type: ignore[method-assign,assignment]

    def _data(self, trainer: Trainer) -> str:
        batch, value = Data.batch, self.value

        def spoilt(self: Data, *arguments: object, **settings: object) -> Batch:
            found = batch(self, *arguments, **settings)  # type: ignore[arg-type]
            return attrs.evolve(found, origin=found.origin + value)

        Data.batch = spoilt  # type: ignore[method-assign,assignment]
        return "data"

    def _layer(self, trainer: Trainer) -> str:
        layers = [(name, layer) for name, layer in trainer.model.named_modules() if isinstance(layer, torch.nn.Linear)]
        if not layers:  # energies have none that are called
            return self._data(trainer)
        name, layer = layers[self.pick % len(layers)]
        # An infinity may be levelled out by what comes after, such as a sigmoid.
        layer.register_forward_hook(lambda layer, inputs, output: output * float("nan"))
        return name

    def _gradient(self, trainer: Trainer) -> str:
        name, parameter = self._parameters(trainer)
        parameter.register_hook(lambda gradient: gradient + self.value)
        return name

    def _parameter(self, trainer: Trainer) -> str:
        name, parameter = self._parameters(trainer)
        with torch.no_grad():
            parameter.view(-1)[self.pick % parameter.numel()] = self.value
        return name

    def _parameters(self, trainer: Trainer) -> tuple[str, torch.nn.Parameter]:
        named = [(name, parameter) for name, parameter in trainer.model.named_parameters() if parameter.requires_grad]
        return named[self.pick % len(named)]


def nonfinite(count: int, seed: int, folder: Path, method: str) -> Record:
    """``count`` runs of a method, each with one trouble.

    It must leave with 5 and say in which update it was met and in which part it began, as
    ``nonfinite.json`` must; no checkpoint may hold a number that is not finite, and without the trouble the
    run must be taken up as if it had never been.
    """
    whole, random, kinds = Whole.of(method, folder), Random(f"{seed} {method}"), Counter[str]()

    def trials() -> Iterator[str]:
        for number in range(count):
            kind = KINDS[number % len(KINDS)]
            trouble = Trouble(kind, random.randrange(UPDATES), random.choice(VALUES), random.randrange(100), folder / NAMED)
            kinds[kind] += 1
            fault = _fault(whole, trouble, folder / f"run-{number}")
            shutil.rmtree(folder / f"run-{number}", ignore_errors=True)
            yield fault and f"seed {seed}, number {number}, {trouble}: {fault}"

    return tally(trials(), kinds=kinds)


def _fault(whole: Whole, trouble: Trouble, run: Path) -> str:
    trouble.note.unlink(missing_ok=True)
    ended = finish(whole.begin(run), run.with_suffix(".txt"), trouble.patch)
    if not trouble.note.exists():
        return f"the trouble was never met: {ended.said[-300:]}"
    checks: list[Callable[[], str]] = [
        lambda: _said(ended, trouble),
        lambda: _reported(run, trouble),
        lambda: _finite(run),
        lambda: whole.fault_of_resuming(run),
    ]
    return next(filter(None, (check() for check in checks)), "")


def _said(ended: Ended, trouble: Trouble) -> str:
    wanted = (f"at update {trouble.update} of epoch", trouble.note.read_text())
    fit = ended.code == 5 and "Traceback" not in ended.said and all(words in ended.said for words in wanted)
    return "" if fit else f"it ends with {ended.code}, {wanted} wanted: {ended.said[-600:]}"


def _reported(run: Path, trouble: Trouble) -> str:
    report = json.loads((run / "nonfinite.json").read_text(encoding="utf-8"))
    finding, named = report["finding"] or {}, trouble.note.read_text()
    found = finding.get("gradient") or finding.get("component")
    return "" if (report["update"], found) == (trouble.update, named) else f"{named} wanted: {report}"


def _finite(run: Path) -> str:
    for checkpoint in (run / "checkpoints").glob("*"):
        groups, _ = read_bundle(checkpoint)
        for group, tensors in groups.items():
            if broken := [name for name, tensor in tensors.items() if tensor.is_floating_point() and not tensor.isfinite().all()]:
                return f"{checkpoint.name} holds numbers that are not finite in {group}: {broken[0]}"
    return ""
