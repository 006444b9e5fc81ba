"""Run directories that somebody else has prepared: forged checkpoints, links, pipes and absurd numbers.

Each entry of :data:`RUNS` spoils a sound run of which nothing but a checkpoint is left to continue from, or
its final weights. Manifests are forged to match, so that it is not the digests that refuse.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from hostile_watch import SECRET

ESCAPES = "\x1b[31m\x1b]0;title\x07\n\x9b2J\u202e"
DEEP = 100_000
Spoil = Callable[[Path], None]


class Trap:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {SECRET}-sprung",)


def bundles(run: Path) -> list[Path]:
    """The newest checkpoint and the final weights."""
    return [sorted((run / "checkpoints").iterdir())[-1], run / "final"]


def forge(bundle: Path) -> None:
    """Writes the manifest that fits what a bundle holds now."""
    files = [file for file in sorted(bundle.iterdir()) if file.name != "manifest.json"]
    digests = {file.name: {"sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "size": file.stat().st_size} for file in files}
    (bundle / "manifest.json").write_text(json.dumps(digests))


def replaced(content: bytes, name: str, run: Path) -> None:
    """Puts bytes in the place of a file of every bundle."""
    for bundle in bundles(run):
        if (bundle / name).exists():
            (bundle / name).write_bytes(content)
            forge(bundle)


def archive(kind: str) -> bytes:
    """An archive whose members lie outside of it."""
    content = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(content, "w") as file:
            for name in ("../../../canary", "/canary", "data.pkl"):
                file.writestr(name, pickle.dumps(Trap()))
    else:
        with tarfile.open(fileobj=content, mode="w") as file:
            member = tarfile.TarInfo("../../../canary")
            member.size = 6
            file.addfile(member, io.BytesIO(b"canary"))
    return content.getvalue()


def tensors(header: Any, data: bytes = b"\0" * 64, length: int | None = None) -> bytes:
    """A safetensors file with this header, right or wrong."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(dtype: str = "F32", shape: Any = (4, 4), offsets: Any = (0, 64)) -> dict[str, Any]:
    """What a header says of one tensor."""
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def reheaded(change: Callable[[dict[str, Any]], Any], run: Path, name: str = "model.safetensors") -> None:
    """Changes the headers of sound files of tensors, in place."""
    for bundle in bundles(run):
        if (file := bundle / name).exists():
            content = file.read_bytes()
            (size,) = struct.unpack("<Q", content[:8])
            header = json.loads(content[8 : 8 + size])
            file.write_bytes(tensors(change(header), content[8 + size :]))
            forge(bundle)


def first(header: dict[str, Any]) -> dict[str, Any]:
    """What a header says of its first tensor of more than one number."""
    return next(value for key, value in header.items() if key != "__metadata__" and len(value["shape"]) > 1)


def with_first(**fields: Any) -> Spoil:
    """Changes what is said of one tensor."""

    def change(header: dict[str, Any]) -> dict[str, Any]:
        first(header).update(fields)
        return header

    return partial(reheaded, change)


def renamed(change: Callable[[str], str], name: str = "model.safetensors") -> Spoil:
    """Renames all tensors."""
    return partial(reheaded, lambda header: {change(key): value for key, value in header.items()}, name=name)


def restated(change: Callable[[dict[str, Any]], Any]) -> Spoil:
    """Changes ``state.json`` of every bundle."""

    def spoil(run: Path) -> None:
        for bundle in bundles(run):
            state = json.loads((bundle / "state.json").read_text())
            (bundle / "state.json").write_text(json.dumps(change(state)))
            forge(bundle)

    return spoil


def progressed(**fields: Any) -> Spoil:
    """Changes where training stands, and what the final weights say of it."""

    def change(state: dict[str, Any]) -> dict[str, Any]:
        state["progress" if "progress" in state else "x"] = {**state.get("progress", {}), **fields}
        return {**state, **fields} if "weights" in state else state

    return restated(change)


def linked(name: str, target: str) -> Spoil:
    """Puts a link in the place of something in the run."""

    def spoil(run: Path) -> None:
        path = run / name
        path.parent.mkdir(exist_ok=True)
        if path.exists():
            path.rename(run.parent / f"moved-{path.name}")
        path.symlink_to(target)

    return spoil


def written(name: str, content: str | bytes) -> Spoil:
    """Writes a file of the run."""

    def spoil(run: Path) -> None:
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return spoil


def piped(name: str) -> Spoil:
    """Puts a pipe, which nobody writes to, in the place of a file."""

    def spoil(run: Path) -> None:
        (run / name).unlink(missing_ok=True)
        os.mkfifo(run / name)

    return spoil


def listed(name: str) -> Spoil:
    """Adds a file that lies elsewhere to the manifests."""

    def spoil(run: Path) -> None:
        for bundle in bundles(run):
            manifest = json.loads((bundle / "manifest.json").read_text())
            (bundle / "manifest.json").write_text(json.dumps(manifest | {name: {"size": 6, "sha256": "0" * 64}}))

    return spoil


def linked_tensors(run: Path) -> None:
    """Puts links in the place of files of tensors."""
    for bundle in bundles(run):
        (bundle / "model.safetensors").rename(run.parent / f"canary-{bundle.name}")
        (bundle / "model.safetensors").symlink_to(run.parent / f"canary-{bundle.name}")


def figure(**fields: Any) -> str:
    """An evaluation file with one figure."""
    return json.dumps([{"name": ESCAPES, "meaning": "x", "value": 1.0, "unit": ESCAPES, **fields}])


def odd_checkpoints(run: Path) -> None:
    """Adds checkpoints with names that only look like numbers."""
    for name in ("99999999999999999999", "\u0663", "\u00b2", "00000000"):
        (run / "checkpoints" / name).mkdir(exist_ok=True)


MODEL, STATE = "model.safetensors", "state.json"

RUNS: dict[str, Spoil] = {
    "a pickle named safetensors": partial(replaced, pickle.dumps(Trap()), MODEL),
    "an old pickle named safetensors": partial(replaced, pickle.dumps(Trap(), protocol=0), MODEL),
    "a pickle named JSON": partial(replaced, pickle.dumps(Trap()), STATE),
    "an archive with ../ named safetensors": partial(replaced, archive("zip"), MODEL),
    "a tar archive with ../ named safetensors": partial(replaced, archive("tar"), MODEL),
    "a manifest that lists ../": listed("../../../canary"),
    "a manifest that lists an absolute path": listed("/etc/passwd"),
    "a manifest nested deeply": lambda run: [(b / "manifest.json").write_text("[" * DEEP) for b in bundles(run)],  # type: ignore[func-returns-value]
    "a header of 2^63 bytes": partial(replaced, tensors({}, length=2**63), MODEL),
    "a header longer than the file": partial(replaced, tensors({}, length=1000), MODEL),
    "a header of 120 MB": partial(replaced, tensors(b" " * 120_000_000), MODEL),
    "a header that is no JSON": partial(replaced, tensors(b"{'a':}"), MODEL),
    "a header nested deeply": partial(replaced, tensors(b'{"a":' + b"[" * DEEP), MODEL),
    "an empty file of tensors": partial(replaced, b"", MODEL),
    "a tensor of 2^80 numbers": with_first(shape=[2**40, 2**40]),
    "a tensor of 2^62 numbers": with_first(shape=[2**62]),
    "a tensor of negative length": with_first(shape=[-4, -4]),
    "a tensor of very many axes": with_first(shape=[1] * 5000),
    "offsets beyond the file": with_first(data_offsets=[0, 2**40]),
    "offsets that run backwards": with_first(data_offsets=[64, 0]),
    "overlapping tensors": partial(replaced, tensors({"a": entry(), "b": entry()}), MODEL),
    "a type that does not exist": with_first(dtype="F33"),
    "a type that is another": with_first(dtype="I32"),
    "a shape that is another": partial(reheaded, lambda header: (first(header).update(shape=first(header)["shape"][::-1]), header)[1]),
    "tensors named ../": renamed(lambda name: f"../../{name}"),
    "tensors with escapes in their names": renamed(lambda name: f"{ESCAPES}{name}"),
    "no tensors": partial(replaced, tensors({}, b""), MODEL),
    "optimiser tensors without a place": renamed(lambda name: "x", "optimizer.safetensors"),
    "optimiser tensors of another set": renamed(lambda name: f"../{name}", "optimizer.safetensors"),
    "optimiser tensors of absurd places": renamed(lambda name: f"model/{'9' * 30}/{name.rpartition('/')[2]}", "optimizer.safetensors"),
    "optimiser tensors of another shape": partial(
        reheaded, lambda header: (first(header).update(shape=first(header)["shape"][::-1]), header)[1], name="optimizer.safetensors"
    ),
    "a state nested deeply": partial(replaced, b"[" * DEEP + b"]" * DEEP, STATE),
    "a state with a huge integer": partial(replaced, b'{"progress": ' + b"9" * 10_000 + b"}", STATE),
    "a state that is a list": partial(replaced, b"[1, 2]", STATE),
    "a state that is nothing": partial(replaced, b"null", STATE),
    "a state that is no UTF-8": partial(replaced, b'{"progress": "\xff"}', STATE),
    "progress in words": progressed(update="many", epoch=ESCAPES),
    "progress of nan": progressed(update=float("nan"), epoch=float("inf")),
    "progress below zero": progressed(update=-5, epoch=-1, position=-3),
    "progress of 10^30": progressed(update=10**30, epoch=10**30),
    "progress with other fields": progressed(__class__="os.system", path="/etc"),
    "a best checkpoint elsewhere": progressed(best_checkpoint="../../outside/canary", best=1.0),
    "metrics of negative size": restated(lambda state: {**state, "metrics_size": -1}),
    "metrics of a size in words": restated(lambda state: {**state, "metrics_size": "all"}),
    "metrics of a size missing": restated(lambda state: {key: value for key, value in state.items() if key != "metrics_size"}),
    "states of plugins in words": restated(lambda state: {**state, "plugins": ESCAPES}),
    "weights in other words": restated(lambda state: {**state, "weights": ESCAPES}),
    "tensors that are links": linked_tensors,
    "checkpoints that are a link": linked("checkpoints", "../moved-checkpoints"),
    "final weights that are a link": linked("final", "../moved-final"),
    "pictures that are a link": linked("pictures", "../outside"),
    "a lock that is a link": linked("lock", "../outside/canary"),
    "metrics that are a link": linked("metrics.jsonl", "../outside/canary"),
    "figures that are a link": linked("evaluation.json", "../outside/canary"),
    "a temporary file that is a link": linked(".evaluation.json.tmp", "../outside/canary"),
    "a temporary folder that is a link": linked("checkpoints/.00000004.tmp", "../../outside"),
    "a recipe that is a link": linked("recipe.toml", "../outside/canary"),
    "a picture that is a link": linked("pictures/samples.png", "../../outside/canary"),
    "metrics that are a pipe": piped("metrics.jsonl"),
    "figures that are a pipe": piped("evaluation.json"),
    "figures nested deeply": written("evaluation.json", "[" * DEEP),
    "figures that are words": written("evaluation.json", '["a", "b"]'),
    "figures that are a table": written("evaluation.json", '{"name": 1}'),
    "figures with escapes": written("evaluation.json", figure(value="nan")),
    "figures with huge numbers": written("evaluation.json", figure(value=10**400, walks=10**400)),
    "metrics that are garbage": written("metrics.jsonl", b"\xff\x00{" * 40),
    "metrics nested deeply": written("metrics.jsonl", "[" * DEEP + "\n"),
    "an environment of garbage": written("environment.json", '{"plugins": 3, "threads": "x", "git": []}'),
    "an environment nested deeply": written("environment.json", "[" * DEEP),
    "a recipe with escapes": written("resolved.toml", 'title = "\\u001b[31m\\u001b]0;x\\u0007"\ndevice = "cpu"\n'),
    "a recipe of another plugin": written("resolved.toml", 'plugins = ["os.system", "../x"]\n'),
    "a recipe nested deeply": written("resolved.toml", "x = " + "[" * DEEP),
    "checkpoints of odd names": odd_checkpoints,
    "unfinished figures that are garbage": written("evaluating/0123456789abcdef/estimate.json", "[" * DEEP),
}
"""What was done to the run, and how."""
