"""Words to whoever watches a run. The core says them; the command line shows them."""

from __future__ import annotations

import sys


class Reporter:
    """Silent but for lines, which go to standard error; the command line has one with a progress bar."""

    def say(self, line: str) -> None:
        """One line of plain words."""
        print(line, file=sys.stderr)

    def progress(self, done: int, total: int, words: str) -> None:
        """How far training is.

        Arguments:
            done: Updates done.
            total: Updates planned.
            words: Loss, speed and time left.
        """
