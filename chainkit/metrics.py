"""``metrics.jsonl``: one line per logged update, cut back to the checkpoint when a run resumes."""

from __future__ import annotations

import json
from pathlib import Path

from chainkit.files import naming, sync


class MetricsLog:
    """An append-only file of JSON lines.

    Arguments:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, metrics: dict[str, float]) -> None:
        """Adds one line.

        Raises:
            OSError: The disk is full or not writable; no half of the line is left.
        """
        size = self.size()
        try:
            with naming(self.path), self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(metrics) + "\n")
        except OSError:
            self.cut(size)
            raise

    def read(self) -> list[dict[str, float]]:
        """All lines so far."""
        if not self.path.exists():
            return []
        return [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]

    def sync(self) -> None:
        """Flushes all lines to the disk, for what is to rely on them.

        Raises:
            OSError: The disk does not take them.
        """
        if self.size():
            with naming(self.path):
                sync(self.path)
                sync(self.path.parent)

    def size(self) -> int:
        """Length in bytes, to be kept in a checkpoint."""
        return self.path.stat().st_size if self.path.exists() else 0

    def cut(self, size: int) -> None:
        """Drops what was written after a checkpoint; a shorter file is never padded.

        Raises:
            ValueError: The size is not 0 or more.
        """
        if type(size) is not int or size < 0:
            raise ValueError(f"metrics have a size in bytes, not {size!r:.40}")
        if self.size() > size:
            with self.path.open("r+b") as file:
                file.truncate(size)
