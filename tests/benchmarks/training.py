"""chainkit's side of the training benchmarks: a run made from a recipe, and its trainer stepped as the command line steps it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from chainkit.host import load_plugins
from chainkit.run import Run
from chainkit.session import new_run

ENDLESS = ["train.epochs=1000000"]


def made(recipe: str, overrides: Sequence[str] = ()) -> Run:
    """A run, in a directory that is removed again.

    Arguments:
        recipe: The recipe, as TOML.
        overrides: ``key=value`` settings.
    """
    folder = Path(tempfile.mkdtemp(prefix="chainkit-benchmark-"))
    try:
        path = folder / "recipe.toml"
        path.write_text(recipe, encoding="utf-8")
        return new_run(path, folder / "run", load_plugins(), overrides=[*ENDLESS, 'device="cpu"', *overrides])
    finally:
        shutil.rmtree(folder)


def stepping(run: Run) -> Callable[[], float]:
    """A function that makes the next update of a run and gives its loss."""

    def updates() -> Iterator[float]:
        while True:
            yield from run.trainer.epoch_updates()

    return updates().__next__


def digits(root: Path | None = None, *, binarize: bool = False, examples: int = 2048) -> str:
    """The ``[data]`` table of MNIST, or where it is absent, of as many random bytes of its shape.

    Arguments:
        root: Where MNIST lies; the environment variable CHAINKIT_DATA unless given.
        binarize: Whether pixels become bits, drawn anew in every batch; else they are dequantised.
        examples: How many random ones.
    """
    preparation = 'binarize = "dynamic"' if binarize else "scale = 256\ndequantize = true"
    folder = root or Path(os.environ.get("CHAINKIT_DATA", ""))
    if (folder / "MNIST" / "raw").is_dir():
        return f'[data]\ntype = "mnist"\nroot = "{folder}"\ndownload = false\n{preparation}\n'
    path = Path(tempfile.gettempdir()) / f"chainkit-benchmark-{examples}.npz"
    if not path.exists():
        beside = path.with_name(f"{os.getpid()}-{path.name}")
        np.savez(beside, x_train=np.random.default_rng(0).integers(0, 256, (examples, 1, 28, 28), dtype=np.uint8))
        beside.replace(path)
    return f'[data]\ntype = "arrays"\npath = "{path}"\n{preparation}\n'


def examples(run: Run, rows: int) -> Callable[[], Tensor]:
    """A function that gives raw examples chosen at random, [rows, size], as a user's loop would index them.

    Arguments:
        run: Whose training split they are.
        rows: How many at a time.
    """
    values = run.data.split("train").values.flatten(1)
    return lambda: values[torch.randint(len(values), (rows,))]
