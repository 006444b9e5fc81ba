"""Scalars, pictures of samples and of chains, as TensorBoard event files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import chainkit
from chainkit.chain import Samples
from chainkit.component import Context
from chainkit.packages import imported
from chainkit_tensorboard.configs import TensorboardConfig

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from chainkit.run import Run


class Tensorboard:
    """Watches one run.

    Arguments:
        open_writer: torch's ``SummaryWriter``.
        draw: Gives pictures as uint8 [height, width, 3] by name, from samples and data.
        directory: Where the event files go, seen from the run directory.
    """

    def __init__(self, open_writer: Callable[..., SummaryWriter], draw: Callable[..., dict[str, Any]], directory: str) -> None:
        self.open_writer = open_writer
        self.draw = draw
        self.directory = Path(directory)
        self.writer: SummaryWriter | None = None

    @chainkit.hookimpl
    def chainkit_run_start(self, run: Run) -> None:
        """Opens the event file; what an interrupted run wrote after its last checkpoint is marked as superseded."""
        self.writer = self.open_writer(str(run.path / self.directory), purge_step=run.update + 1 if run.update else None)

    @chainkit.hookimpl
    def chainkit_step_end(self, run: Run, metrics: dict[str, float]) -> None:
        """Writes every metric but the update itself, by update."""
        for name, value in metrics.items():
            if self.writer is not None and name != "update":
                self.writer.add_scalar(name, value, run.update)

    @chainkit.hookimpl
    def chainkit_samples(self, run: Run, samples: Samples) -> None:
        """Writes pictures of the samples, of their means and of the chain."""
        for name, picture in self.draw(samples, run.data).items():
            if self.writer is not None:
                self.writer.add_image(name, picture, run.update, dataformats="HWC")

    @chainkit.hookimpl
    def chainkit_run_end(self, run: Run) -> None:
        """Closes the event file."""
        self._close()

    @chainkit.hookimpl
    def chainkit_run_error(self, run: Run, error: BaseException) -> None:
        """Closes the event file, with all that was written so far in it."""
        self._close()

    def _close(self) -> None:
        if self.writer is not None:
            self.writer.close()
        self.writer = None


def build_tensorboard(config: TensorboardConfig, context: Context) -> Tensorboard:
    """The observer of one run.

    Raises:
        MissingPackage: tensorboard or matplotlib cannot be imported.
    """
    imported("tensorboard", "pip install tensorboard, or leave it out of observers")
    imported("matplotlib.figure", "pip install matplotlib, or leave tensorboard out of observers")
    writer = imported("torch.utils.tensorboard", "pip install tensorboard, or leave it out of observers")
    from chainkit_figures.draw import pictures, rendered

    def draw(samples: Samples, data: chainkit.Data) -> dict[str, Any]:
        return {name: rendered(figure) for name, figure in pictures(samples, data).items()}

    return Tensorboard(writer.SummaryWriter, draw, config.directory)
