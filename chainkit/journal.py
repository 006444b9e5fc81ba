"""What a long computation has worked out so far, so that it can be stopped and continued.

An estimator gives the same value from the same seed: it works out the same pieces in the same
order. A journal keeps the pieces in that order. When the estimator runs again, it gets those that are
kept instead of working them out, and goes on with the first that is not; the number is the
one that an uninterrupted computation gives.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from torch import Tensor

from chainkit.bundle import as_written, read_bundle, write_bundle
from chainkit.distributed import current, each
from chainkit.errors import CheckpointError

SECONDS = 5.0
"""How much work a killed process may lose; what takes less leaves no files."""


class Journal:
    """Keeps nothing: every piece is worked out."""

    def keep(self, compute: Callable[[], Tensor]) -> Tensor:
        """The next piece.

        Arguments:
            compute: Works it out; a tensor on the CPU.
        """
        return compute()

    def keep_each(self, pieces: Sequence[Callable[[], Tensor]]) -> Iterator[Tensor]:
        """The next pieces, which do not need each other; several processes share out the work, and all get all.

        Arguments:
            pieces: Each works out one; a tensor on the CPU.
        """
        for first in range(0, len(pieces), current().size):
            yield from each(pieces[first : first + current().size])


class FileJournal(Journal):
    """Keeps pieces in a folder, as bundles named after the first of them.

    Arguments:
        folder: Where they are kept; it belongs to one computation, with all that it depends on.
            What was damaged is worked out again, and so is all that comes after it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._kept = deque(self._read())
        self._new: list[Tensor] = []
        self._written, self._since = len(self._kept), time.monotonic()

    def _read(self) -> list[Tensor]:
        found: list[Tensor] = []
        while (path := self._bundle(len(found))).is_dir():
            try:
                with as_written(path):
                    pieces = read_bundle(path)[0]["pieces"]
            except CheckpointError:
                break
            found += [pieces[name] for name in sorted(pieces)]
        return found

    def _bundle(self, first: int) -> Path:
        return self.folder / f"{first:09d}"

    def keep(self, compute: Callable[[], Tensor]) -> Tensor:
        if self._kept:
            return self._kept.popleft()
        self._new.append(compute())
        piece = self._new[-1]
        if time.monotonic() - self._since > SECONDS:
            self.write()
        return piece

    def keep_each(self, pieces: Sequence[Callable[[], Tensor]]) -> Iterator[Tensor]:
        known = min(len(self._kept), len(pieces))
        yield from (self._kept.popleft() for _ in range(known))
        yield from (self.keep(lambda piece=piece: piece) for piece in super().keep_each(pieces[known:]))  # type: ignore[misc]

    def write(self) -> None:
        """Writes the pieces that are not on the disk yet; of several processes, the leader does."""
        if self._new and current().leads:
            pieces = {f"{number:09d}": piece for number, piece in enumerate(self._new)}
            write_bundle(self._bundle(self._written), {"pieces": pieces}, {})
        self._written, self._since = self._written + len(self._new), time.monotonic()
        self._new = []
