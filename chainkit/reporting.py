"""Words to whoever watches a run. The core says them; the command line shows them."""

from __future__ import annotations

import sys


def visible(text: str) -> str:
    """Text with everything that is not printable written as an escape, except the ends of its lines.

    Names in recipes, file names and what a damaged file holds could otherwise colour, move or retitle a
    terminal, or hide what they say.
    """
    return "".join(letter if letter.isprintable() or letter == "\n" else letter.encode("unicode_escape").decode() for letter in text)


class Reporter:
    """Silent but for lines, which go to standard error; the command line has one with a progress bar."""

    def say(self, line: str) -> None:
        """One line of plain words."""
        print(visible(line), file=sys.stderr)

    def progress(self, done: int, total: int, words: str) -> None:
        """How far training is.

        Arguments:
            done: Updates done.
            total: Updates planned.
            words: Loss, speed and time left.
        """


class Silent(Reporter):
    """Says nothing; of several processes one speaks."""

    def say(self, line: str) -> None:
        """Nothing."""
