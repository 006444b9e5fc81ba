"""When pictures are drawn: whenever samples are, whenever figures are estimated, and those of training at the end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import chainkit
from chainkit.cli.group import LazyCommand
from chainkit.errors import MissingPackage
from chainkit.packages import imported

if TYPE_CHECKING:
    import click

    from chainkit.chain import Samples
    from chainkit.estimator import Estimate
    from chainkit.run import Run

chainkit_api = (1, 1)

VIEWS = (
    "samples",
    "means",
    "chain",
    "nearest",
    "walk",
    "reconstructions",
    "prior",
    "drift",
    "inpaint",
    "training",
    "training_walk",
    "curves",
)

_told: set[Path] = set()
"""Runs that were told that nothing can be drawn, so that it is said once."""


def _can_draw(run: Run) -> bool:
    try:
        imported("matplotlib.figure", "pip install matplotlib")
    except MissingPackage as error:
        if run.path not in _told:
            run.say(f"no pictures: {error}")
        _told.add(run.path)
        return False
    return True


@chainkit.hookimpl
def chainkit_commands(group: click.Group) -> None:
    """``chainkit inpaint``."""
    group.add_command(LazyCommand("inpaint", "chainkit_figures.command:inpaint", "Complete known halves of examples of a run's data."))


@chainkit.hookimpl
def chainkit_views() -> dict[str, str]:
    """Every picture as a method of ``run.show``."""
    return {name: f"chainkit_figures.views:{name}" for name in VIEWS}


@chainkit.hookimpl
def chainkit_run_start(run: Run) -> None:
    """Keeps training walks of the initial weights.

    Arguments:
        run: The run.
    """
    if run.update == 0 and _can_draw(run):
        from chainkit_figures.training_walk import keep

        keep(run)


@chainkit.hookimpl
def chainkit_epoch_end(run: Run) -> None:
    """Keeps training walks after 1, 2, 4, ... epochs.

    Arguments:
        run: The run.
    """
    from chainkit_figures.training_walk import is_kept, keep

    if is_kept(run.epoch):
        keep(run)


@chainkit.hookimpl
def chainkit_samples(run: Run, samples: Samples) -> None:
    """Draws all pictures of samples and of the chain; while training only ``samples-epoch-0003.png``.

    Arguments:
        run: The run.
        samples: The samples, on the CPU.
    """
    if not _can_draw(run):
        return
    from chainkit_figures.draw import pictures
    from chainkit_figures.of_run import run_pictures, save

    if run.finished:
        save(run, {**pictures(samples, run.data), **run_pictures(run, samples)})
    else:
        save(run, pictures(samples, run.data, names=("samples",)), f"-epoch-{run.epoch:04d}")


@chainkit.hookimpl
def chainkit_estimates(run: Run, estimates: list[Estimate]) -> None:
    """Draws the curves of figures, such as ``walks.png`` and ``steps.png``.

    Arguments:
        run: The run.
        estimates: The figures.
    """
    if not _can_draw(run):
        return
    from chainkit_figures.curves import drawn_curves
    from chainkit_figures.of_run import save

    save(run, drawn_curves(estimates))


@chainkit.hookimpl
def chainkit_run_end(run: Run) -> None:
    """Draws ``training.png``, what was logged with the figures at the end, and ``training-walk.png``.

    Arguments:
        run: The run.
    """
    if not _can_draw(run):
        return
    from chainkit_figures.of_run import drawn_end, save

    save(run, drawn_end(run))
