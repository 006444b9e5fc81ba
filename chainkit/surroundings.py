"""Where a run is computed: ``environment.json``, and what of it is another when the run goes on."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

import chainkit
from chainkit.distributed import current
from chainkit.files import write_text
from chainkit.run_record import Environment, read_environment

PACKAGES = ("numpy", "torchvision", "scikit-learn", "safetensors")


def exactness(device: torch.device) -> dict[str, Any]:
    """What sums of floating-point numbers depend on: only where all of it is the same does a run go on bit for bit.

    Arguments:
        device: Where this process computes.
    """
    return {
        "chainkit": chainkit.__version__,
        "torch": str(torch.__version__),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "processes": current().size,
    }


def describe_environment(computing: Mapping[str, Any], plugins: dict[str, str], overrides: list[str]) -> dict[str, Any]:
    """What a figure depends on beside the recipe.

    Arguments:
        computing: What :func:`exactness` says.
        plugins: Version of the distribution of each loaded plugin.
        overrides: ``--set`` arguments.
    """
    commit = _git("rev-parse", "HEAD")
    return {
        **computing,
        "python": sys.version.split()[0],
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "plugins": plugins,
        "platform": platform.platform(),
        "git": None if commit is None else {"commit": commit, "dirty": bool(_git("status", "--porcelain"))},
        "overrides": overrides,
        "command": [os.path.basename(sys.argv[0]), *sys.argv[1:]],
    }


def note_continuation(path: Path, update: int, computing: Mapping[str, Any]) -> list[str]:
    """Adds to ``environment.json`` what is another from an update on.

    Arguments:
        path: The run directory.
        update: How many updates were made so far.
        computing: What :func:`exactness` says now.

    Returns:
        What has changed, in words; nothing of what the file does not know.

    Raises:
        CheckpointError: The file is damaged.
    """
    before = _last(read_environment(path), computing)
    changed = {name: computing[name] for name, value in before.items() if computing[name] != value}
    if changed:
        file = path / "environment.json"
        content = json.loads(file.read_text(encoding="utf-8"))
        content["continued"] = [*content.get("continued", []), {"update": update, **changed}]
        write_text(file, json.dumps(content, indent=1))
    return [f"{name} {before[name]} before, {value} now" for name, value in changed.items()]


def _last(environment: Environment, names: Iterable[str]) -> dict[str, Any]:
    """Under what the run went on last, as far as it is known."""
    known = {name: getattr(environment, name) for name in names if getattr(environment, name)}
    for continued in environment.continued:
        known |= {name: continued[name] for name in known if name in continued}
    return known


def _git(*arguments: str) -> str | None:
    try:
        # The settings of a repository that came from elsewhere may name a program to watch its files.
        result = subprocess.run(["git", "-c", "core.fsmonitor=false", *arguments], capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
