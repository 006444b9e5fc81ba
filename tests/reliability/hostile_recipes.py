"""Recipes that somebody else has written: what they name is looked up, never imported, run or written to."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
from hostile_runs import ESCAPES, Trap

SOUND = """
device = "cpu"
[data]
type = "swiss-roll"
n = 200
valid = 20
test = 20
[chain]
steps = 2
prior = "gaussian"
operator = { type = "infusion-gaussian", mean = "linear", network = { type = "mlp", hidden = [4] } }
[process]
type = "infusion"
[objective]
type = "denoising"
[train]
epochs = 2
batch_size = 100
optimizer = { type = "adam", lr = 0.01 }
[sample]
n = 4
[evaluate]
examples = 5
estimators = [{ type = "lower-bound", walks = 2 }]
"""
Lay = Callable[[Path], None]


def quoted(text: str) -> str:
    """A TOML string."""
    return '"' + "".join(f"\\U{ord(letter):08x}" for letter in text) + '"'


def changed(before: str, after: str) -> Lay:
    """The sound recipe with one text in the place of another."""
    assert before in SOUND
    return lambda folder: _write(folder, SOUND.replace(before, after))


def begun(text: str) -> Lay:
    """The sound recipe with something before it."""
    return lambda folder: _write(folder, f"{text}\n{SOUND}")


def ended(text: str) -> Lay:
    """The sound recipe with something after it."""
    return lambda folder: _write(folder, f"{SOUND}\n{text}\n")


def _write(folder: Path, text: str) -> None:
    (folder / "recipe.toml").write_text(text, encoding="utf-8")


def trapped(table: str) -> Lay:
    """The sound recipe with data or weights in files that run code when they are unpickled."""

    def lay(folder: Path) -> None:
        content = io.BytesIO()
        np.save(content, np.array([Trap()], dtype=object), allow_pickle=True)
        for name, written in (("trap.npy", content.getvalue()), ("trap.npz", content.getvalue()), ("trap.pth", pickle.dumps(Trap()))):
            (folder / name).write_bytes(written)
        before = (
            'type = "swiss-roll"\nn = 200\nvalid = 20\ntest = 20' if table.startswith("type") else '{ type = "lower-bound", walks = 2 }'
        )
        _write(folder, SOUND.replace(before, table))

    return lay


def piped(folder: Path) -> None:
    """A pipe in the place of the recipe."""
    os.mkfifo(folder / "recipe.toml")


def linked(folder: Path) -> None:
    """The sound recipe, beside a run directory that is a link to elsewhere."""
    _write(folder, SOUND)
    (folder / "run").symlink_to(folder / "outside")


OPERATOR, SWISS, ADAM, BOUND = 'type = "infusion-gaussian"', 'type = "swiss-roll"', 'type = "adam"', 'type = "lower-bound"'
OUTSIDE = ("../outside", "/tmp/events", "a/../../x")
PATHS = (
    "os.system",
    "os:system",
    "chainkit.cli:main",
    "../outside/canary",
    "/etc/passwd",
    "__import__('os').system('true')",
    ESCAPES,
    "%n%s",
    "{0}",
)

RECIPES: dict[str, Lay] = {
    **{f"an operator named {name!r}": changed(OPERATOR, f"type = {quoted(name)}") for name in PATHS},
    **{f"data named {name!r}": changed(SWISS, f"type = {quoted(name)}") for name in PATHS},
    **{f"a plugin named {name!r}": begun(f"plugins = [{quoted(name)}]") for name in PATHS},
    **{f"a device named {name!r}": changed('device = "cpu"', f"device = {quoted(name)}") for name in PATHS},
    **{
        f"event files in {name!r}": begun(f'observers = [{{ type = "tensorboard", directory = {quoted(name)} }}]')
        for name in ("../outside", "/tmp/events", "a/../../x")
    },
    "an optimiser by its path": changed(ADAM, 'type = "torch.optim.Adam"'),
    "an estimator by its path": changed(BOUND, 'type = "builtins.eval"'),
    "a title with escapes": begun(f"title = {quoted(ESCAPES)}"),
    "a key with escapes": begun(f"{quoted(ESCAPES)} = 1"),
    "a table with escapes": ended(f"[{quoted(ESCAPES)}.{quoted(ESCAPES)}]"),
    "a key that is a method": ended("[train.__class__]\n__init__ = 1"),
    "data that is unpickled": trapped('type = "arrays"\npath = "trap.npy"'),
    "an archive that is unpickled": trapped('type = "arrays"\npath = "trap.npz"'),
    "weights that are unpickled": trapped('{ type = "fidelity", weights = "trap.pth" }'),
    "data that is a device": trapped('type = "arrays"\npath = "/dev/zero"'),
    "data that is a device named npy": trapped('type = "arrays"\npath = "/dev/zero/x.npy"'),
    "a recipe that is a pipe": piped,
    "a run directory that is a link": linked,
    "a sound recipe": lambda folder: _write(folder, SOUND),
}
"""What is hostile, and what lays it into a folder."""
