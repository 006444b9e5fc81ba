"""The hooks that plugins implement, by phase.

A plugin is a module (or object) named by an entry point of the group ``chainkit``. It marks the
functions below that it implements with ``@chainkit.hookimpl`` and states the range of the chainkit
API that it was written for as ``chainkit_api = (1, 1)``. Neither it nor its config classes import
torch: components name what builds them by reference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from pathlib import Path

    import click

    from chainkit.chain import Samples
    from chainkit.component import Component
    from chainkit.estimator import Estimate
    from chainkit.run import Run

hookspec = pluggy.HookspecMarker("chainkit")
hookimpl = pluggy.HookimplMarker("chainkit")


# Registration: called once, when plugins are loaded.


@hookspec
def chainkit_operators() -> list[Component]:
    """Transition operators; ``build`` gives a ``TransitionOperator``."""


@hookspec
def chainkit_networks() -> list[Component]:
    """Networks inside operators; ``build`` gives a ``Network`` with ``context.heads`` heads."""


@hookspec
def chainkit_processes() -> list[Component]:
    """Forward processes; ``build`` gives a ``ForwardProcess``."""


@hookspec
def chainkit_objectives() -> list[Component]:
    """Objectives; ``build`` gives an ``Objective``."""


@hookspec
def chainkit_schedules() -> list[Component]:
    """Schedules of temperatures, rates and variances; ``build`` gives a ``Schedule``."""


@hookspec
def chainkit_priors() -> list[Component]:
    """Starting distributions; ``build`` gives a ``Prior``."""


@hookspec
def chainkit_datasets() -> list[Component]:
    """Datasets; ``build`` gives a ``Data``."""


@hookspec
def chainkit_estimators() -> list[Component]:
    """Estimators; ``build`` gives an ``Estimator``."""


@hookspec
def chainkit_optimizers() -> list[Component]:
    """Optimisers; ``build(config, context)`` gives a function from a list of parameters to a ``torch.optim.Optimizer``."""


@hookspec
def chainkit_decays() -> list[Component]:
    """Learning-rate schedules; ``build`` gives a function ``(update, updates) -> factor`` of the learning rate."""


@hookspec
def chainkit_observers() -> list[Component]:
    """Watchers that a recipe asks for; ``build`` gives an object with lifecycle hooks, registered for that run."""


@hookspec
def chainkit_parts() -> dict[str, list[Component]]:
    """Components of kinds that the core does not know, by kind: parts of other components.

    A config class holds one in a field annotated ``Annotated[Part, kind]``; ``context.build`` builds it.
    """


@hookspec
def chainkit_recipes() -> list[Path]:
    """Folders of recipes that the plugin ships, found by name."""


@hookspec
def chainkit_views() -> dict[str, str]:
    """Ways to look at a run, which notebooks call as methods of ``run.show``.

    By name, each a reference ``package.module:function`` that is imported when it is used. The function takes the
    :class:`~chainkit.run.Run` first; the first line of its docstring is what ``run.show`` prints beside the name.
    """


@hookspec
def chainkit_commands(group: click.Group) -> None:
    """Adds commands to the command line.

    Arguments:
        group: The ``chainkit`` command group.
    """


# Lifecycle: called while a run trains. Observers return nothing and never change training.


@hookspec
def chainkit_run_start(run: Run) -> None:
    """Everything is built (and, when resuming, restored); training is about to start.

    Arguments:
        run: The run.
    """


@hookspec
def chainkit_step_end(run: Run, metrics: dict[str, float]) -> None:
    """Metrics of one or more updates were written to ``metrics.jsonl``.

    Arguments:
        run: The run.
        metrics: What was written.
    """


@hookspec
def chainkit_epoch_end(run: Run) -> None:
    """An epoch ended, its validation included.

    Arguments:
        run: The run.
    """


@hookspec
def chainkit_samples(run: Run, samples: Samples) -> None:
    """Samples were drawn, with their paths.

    Arguments:
        run: The run.
        samples: The samples, on the CPU; ``path`` holds s_N..s_0, of long chains some of them, ``kept`` their steps.
    """


@hookspec
def chainkit_estimates(run: Run, estimates: list[Estimate]) -> None:
    """Figures were estimated; ``evaluation.json`` has them.

    Arguments:
        run: The run.
        estimates: The figures, with their curves.
    """


@hookspec
def chainkit_checkpoint_save(run: Run) -> dict[str, Any] | None:
    """A checkpoint is about to be written.

    Arguments:
        run: The run.

    Returns:
        A table of JSON data to keep, or None.
    """


@hookspec
def chainkit_checkpoint_load(run: Run, state: dict[str, Any] | None) -> None:
    """A checkpoint was read.

    Arguments:
        run: The run.
        state: What the ``chainkit_checkpoint_save`` of this plugin or observer returned; None where it kept nothing.
    """


@hookspec
def chainkit_run_error(run: Run, error: BaseException) -> None:
    """The run stops on an error or a signal.

    Arguments:
        run: The run.
        error: Why.
    """


@hookspec
def chainkit_run_end(run: Run) -> None:
    """Training, evaluation and sampling are done.

    Arguments:
        run: The run.
    """
