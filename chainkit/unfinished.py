"""An evaluation that may be stopped and continued: what is finished is kept until all of it is."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import cattrs
import torch

from chainkit.build import Model
from chainkit.capabilities import Divisible
from chainkit.component import Part, require
from chainkit.data import Examples
from chainkit.distributed import lead
from chainkit.errors import Interrupted
from chainkit.estimator import Estimate, Estimator
from chainkit.evaluation import checked, from_json, to_json
from chainkit.files import write_text
from chainkit.fingerprint import tensor_fingerprint
from chainkit.journal import FileJournal
from chainkit.recipe.write import unstructure
from chainkit.training import module_tensors

FINISHED = "estimate.json"


class Unfinished:
    """Estimates of one evaluation, each in a folder named after all that it depends on.

    Arguments:
        root: Where the folders are made.
        model: What is evaluated.
        examples: On what.
        versions: Versions of the plugins.
        data: Fingerprints of the splits that figures depend on, by name.
    """

    def __init__(self, root: Path, model: Model, examples: Examples, versions: Mapping[str, str], data: Mapping[str, str]) -> None:
        self.root = root
        self.model = model
        self.examples = examples
        self.key = {
            "weights": {name: tensor_fingerprint(tensor) for name, tensor in module_tensors(model).items()},
            "data": dict(data),
            "examples": [examples.split, examples.seed, examples.index.tolist()],
            "versions": dict(versions) | {"torch": str(torch.__version__)},
            "device": torch.device(examples.device).type,
        }
        self._folders: set[Path] = set()

    def once(self, part: Part, estimator: Estimator) -> Estimate:
        """An estimate, taken up where it was stopped.

        Arguments:
            part: The estimator as it was chosen.
            estimator: The estimator as it was built.

        Raises:
            NonFiniteError: The figure is not a finite number.
            Interrupted: A signal asked to stop; what was worked out is kept.
        """
        folder = lead(lambda: self.root / _digest({**self.key, "estimator": unstructure(part)}))
        self._folders.add(folder)
        kept = lead(lambda: _kept(folder / FINISHED))
        if kept is not None:
            return kept
        text = json.dumps(to_json(self._estimate(part, estimator, FileJournal(folder)), ""))
        lead(lambda: _keep(folder / FINISHED, text))
        return from_json(json.loads(text))

    def _estimate(self, part: Part, estimator: Estimator, journal: FileJournal) -> Estimate:
        try:
            examples = attrs.evolve(self.examples, journal=journal)
            return estimated(part, estimator, self.model, examples)
        except Interrupted:
            journal.write()
            raise

    def close(self) -> None:
        """Forgets the estimates, once all are there; those of other evaluations stay."""
        lead(self._remove)

    def _remove(self) -> None:
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)
        if self.root.is_dir() and not any(self.root.iterdir()):
            self.root.rmdir()


def estimated(part: Part, estimator: Estimator, model: Model, examples: Examples) -> Estimate:
    """A figure of a model, the same in all processes: they take part where the estimator is :class:`Divisible`, else one does it.

    Arguments:
        part: The estimator as it was chosen.
        estimator: The estimator as it was built.
        model: What is estimated.
        examples: On what.

    Raises:
        NonFiniteError: The figure is not a finite number.
        WrongPart: It is no figure.
    """

    def compute() -> Estimate:
        found = estimator.estimate(model.chain, model.process, examples)
        require(found, Estimate, f"{part.path}: {part.maker} gave")
        return checked(found)

    if not isinstance(estimator, Divisible):
        return lead(compute)
    found = compute()
    return lead(lambda: found)


def _keep(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)


def _kept(path: Path) -> Estimate | None:
    """The estimate that a file holds; None where there is none or it is damaged, and is to be worked out again."""
    try:
        return from_json(json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, KeyError, TypeError, OverflowError, RecursionError, cattrs.BaseValidationError):
        return None


def _digest(key: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
