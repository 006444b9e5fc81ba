"""When pictures are drawn: whenever samples are, whenever figures are estimated, and a curve of training at the end."""

from __future__ import annotations

from collections.abc import Mapping
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
    from chainkit_figures.picture import Picture

chainkit_api = (1, 1)

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


def _save(run: Run, figures: Mapping[str, Picture], suffix: str = "") -> None:
    folder = run.path / "pictures"
    folder.mkdir(exist_ok=True)
    for name, figure in figures.items():
        figure.save(folder / f"{name}{suffix}.png")


@chainkit.hookimpl
def chainkit_commands(group: click.Group) -> None:
    """``chainkit inpaint``."""
    group.add_command(LazyCommand("inpaint", "chainkit_figures.command:inpaint", "Complete known halves of examples of a run's data."))


@chainkit.hookimpl
def chainkit_samples(run: Run, samples: Samples) -> None:
    """Draws ``samples.png``, ``means.png`` and ``chain.png``; while training only ``samples-epoch-0003.png``.

    Arguments:
        run: The run.
        samples: The samples, on the CPU.
    """
    if not _can_draw(run):
        return
    from chainkit_figures.draw import pictures

    if run.finished:
        _save(run, pictures(samples, run.data))
    else:
        drawn = pictures(samples, run.data, names=("samples",))
        _save(run, drawn, f"-epoch-{run.epoch:04d}")


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

    _save(run, drawn_curves(estimates))


@chainkit.hookimpl
def chainkit_run_end(run: Run) -> None:
    """Draws ``training.png``, the figures in ``metrics.jsonl`` by update, if there are any.

    Arguments:
        run: The run.
    """
    if not _can_draw(run):
        return
    from chainkit_figures.training import training_curves

    curves = training_curves(run.path / "metrics.jsonl")
    if curves is not None:
        _save(run, {"training": curves})
