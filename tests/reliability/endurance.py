"""Training, sampling, drawing and saving without an end: memory and open files must stay where they are after a while."""

from __future__ import annotations

import os
import re
import signal
import statistics
import time
from pathlib import Path

from children import start
from study import Record
from tiny_recipes import METHODS

WARM_UP = 0.25
"""Share of the time that is not counted: caches fill, and pictures are drawn for the first time."""

GROWTH = 0.02
"""How much more memory the last tenth of the time may take than the first tenth after the warm-up."""

ENDLESS = {"epochs = 3": "epochs = 100000000", "every = 2": "every = 1"}
PAGE = os.sysconf("SC_PAGE_SIZE")


def endurance(count: int, seed: int, folder: Path, method: str) -> Record:
    """Lets a run go for ``count`` seconds, with validation, samples, pictures and a checkpoint after every four updates."""
    text = METHODS[method]
    for before, after in ENDLESS.items():
        text = text.replace(before, after)
    folder.mkdir(parents=True)
    (folder / "recipe.toml").write_text(text, encoding="utf-8")
    words = ["run", str(folder / "recipe.toml"), "--out", str(folder / "run"), "--set", f"seed={seed}"]
    child = start(words, folder / "run.txt", lambda: os.environ.pop("CHAINKIT_DISABLE_PLUGINS"))
    resident, files, began = [], [], time.monotonic()
    while time.monotonic() - began < count:
        time.sleep(max(0.05, count / 2000))
        resident.append(int(Path(f"/proc/{child.pid}/statm").read_text().split()[1]) * PAGE)
        files.append(len(os.listdir(f"/proc/{child.pid}/fd")))
    child.kill(signal.SIGTERM)
    ended = child.wait()
    seconds = round(time.monotonic() - began, 1)
    updates = max([0, *(int(found) for found in re.findall(r"update (\d+) of", ended.said))])
    warm, tenth = int(len(resident) * WARM_UP), max(1, len(resident) // 10)
    first, last = statistics.median(resident[warm : warm + tenth]), statistics.median(resident[-tenth:])
    opened = max(files[warm : warm + tenth]), max(files[-tenth:])
    held = ended.code == 143 and last <= (1 + GROWTH) * first and opened[1] <= opened[0]
    details = {
        "minutes": round(seconds / 60, 1),
        "updates": updates,
        "resident MiB": [round(first / 2**20, 1), round(last / 2**20, 1)],
        "growth": f"{last / first - 1:+.2%}",
        "open files": list(opened),
    }
    failure = "" if held else f"{details}, exit code {ended.code}: {ended.said[-500:]}"
    return Record(tried=1, held=int(held), seconds=seconds, failure=failure, details=details)
