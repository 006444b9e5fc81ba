"""Progress on standard error: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import shutil
import sys
import time

from chainkit.reporting import Reporter, visible

PLAIN_SECONDS = 15.0
BAR_SECONDS = 0.1
BAR_WIDTH = 24


class TerminalReporter(Reporter):
    """Shows a run's words and progress."""

    def __init__(self) -> None:
        self.terminal = sys.stderr.isatty()
        self._shown = 0.0
        self._bar = False

    def say(self, line: str) -> None:
        self._clear()
        print(visible(line), file=sys.stderr, flush=True)

    def progress(self, done: int, total: int, words: str) -> None:
        now = time.monotonic()
        if now - self._shown < (BAR_SECONDS if self.terminal else PLAIN_SECONDS) and done < total:
            return
        self._shown = now
        if not self.terminal:
            print(f"update {done} of {total}: {words}", file=sys.stderr, flush=True)
            return
        filled = BAR_WIDTH * done // max(total, 1)
        line = f"[{'#' * filled}{'.' * (BAR_WIDTH - filled)}] {done}/{total} {words}"
        width = shutil.get_terminal_size().columns - 1
        print(f"\r{line[:width]:<{width}}", end="" if done < total else "\n", file=sys.stderr, flush=True)
        self._bar = done < total

    def _clear(self) -> None:
        if self._bar:
            print(f"\r{' ' * (shutil.get_terminal_size().columns - 1)}\r", end="", file=sys.stderr)
            self._bar = False
