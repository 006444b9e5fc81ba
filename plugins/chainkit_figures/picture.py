"""A figure that says what it shows, for those who do not see it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import BinaryIO

from matplotlib.figure import Figure

DOTS_PER_INCH = 120


class Picture(Figure):
    """A matplotlib figure with words that go with it into its file, as the texts ``Title`` and ``Description``.

    Arguments:
        width: In inches.
        height: In inches.

    Attributes:
        title: A few words, for a caption.
        words: What it shows, in a sentence.
    """

    def __init__(self, width: float, height: float) -> None:
        super().__init__(figsize=(width, height), dpi=DOTS_PER_INCH, layout="constrained")
        self.title = ""
        self.words = ""

    def save(self, file: Path | BinaryIO) -> None:
        """Writes a PNG file, to a path or an open file."""
        self.draw_without_rendering()  # the layout settles in its second pass: in the first, labels may reach out of the picture
        self.savefig(file, format="png", metadata={"Title": self.title, "Description": self.words})

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        content = io.BytesIO()
        self.save(content)
        return content.getvalue()
