"""Runs that exist: from a directory to the run that it holds."""

from __future__ import annotations

from pathlib import Path

from chainkit.distributed import in_turn
from chainkit.host import Host, load_plugins
from chainkit.provenance import changed_versions, registry_of_run
from chainkit.recipe import read_recipe
from chainkit.reporting import Reporter
from chainkit.run import Run
from chainkit.run_directory import RunDirectory
from chainkit.run_record import read_environment
from chainkit.saving import load_final


def open_run(path: str | Path, *, host: Host | None = None, reporter: Reporter | None = None, device: str | None = None) -> Run:
    """Opens a run that has ended, with the weights that it reports.

    Arguments:
        path: The run directory.
        host: Loaded plugins; loaded now unless given.
        reporter: Who is told what happens.
        device: Where to compute; as the recipe says unless given.

    Raises:
        CheckpointError: The directory is not that of an ended run, or is damaged.
    """
    run = prepare_run(RunDirectory(Path(path)), host or load_plugins(), reporter, device)
    load_final(run)
    return run


def prepare_run(directory: RunDirectory, host: Host, reporter: Reporter | None = None, device: str | None = None) -> Run:
    """Builds the run of a directory from its resolved recipe, with initial weights.

    Its components are those of the plugins that it was made with; where these are of another version now, that is said.

    Arguments:
        directory: The run directory.
        host: The loaded plugins.
        reporter: Who is told how it goes.
        device: Where to compute; as the recipe says unless given.

    Raises:
        ChainkitError: The recipe cannot be used any more, a part of it cannot be built, or the directory is damaged.
    """
    overrides = [] if device is None else [f'device="{device}"']
    recorded = read_environment(directory.path).plugins
    for line in changed_versions(recorded, host.plugins):
        (reporter or Reporter()).say(line)
    recipe = read_recipe(directory.resolved, registry_of_run(recorded, host.registry), overrides)
    return in_turn(lambda: Run(directory, recipe, host, reporter))
