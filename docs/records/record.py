"""Makes the small record of a run that is kept in the repository: ``python docs/records/record.py RUN > docs/records/NAME.json``.

A record holds what the figures depend on (recipe with all defaults, overrides, versions, device,
seed), the curve of training, and the figures with their errors; not the weights.
"""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path


def record(run: Path) -> dict[str, object]:
    """The record of a run directory.

    Arguments:
        run: The directory of a run that has ended.
    """
    environment = json.loads((run / "environment.json").read_text(encoding="utf-8"))
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    validated = [line for line in lines if any(key.startswith("valid ") for key in line)]
    started, ended = (run / "resolved.toml").stat().st_mtime, (run / "final" / "manifest.json").stat().st_mtime
    return {
        "recipe": tomllib.loads((run / "resolved.toml").read_text(encoding="utf-8")),
        "environment": {key: environment[key] for key in ("chainkit", "torch", "python", "device", "threads", "overrides", "git")},
        "training minutes": round((ended - started) / 60, 1),
        "curve": [*lines[:: max(1, len(lines) // 20)], *validated],
        "figures": json.loads((run / "evaluation.json").read_text(encoding="utf-8")),
    }


if __name__ == "__main__":
    print(json.dumps(record(Path(sys.argv[1])), indent=1))
