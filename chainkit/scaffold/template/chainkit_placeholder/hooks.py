"""What this plugin registers. Neither this module nor ``configs`` imports torch."""

from __future__ import annotations

from pathlib import Path

import chainkit
from chainkit.capabilities import Density, Factorial, HasMean, ImageStates, RealStates, Reparametrised
from chainkit.component import Component
from chainkit_placeholder import configs

chainkit_api = (1, 1)  # the range of chainkit's plugin API that this was written for


@chainkit.hookimpl
def chainkit_operators() -> list[Component]:
    """Transitions p(s_{k-1} | s_k)."""
    return [
        Component(
            name="placeholder-logistic",
            config=configs.OperatorConfig,
            build="chainkit_placeholder.operator:build",
            example={"network": {"type": "mlp", "hidden": [16]}},
            provides=(Factorial, Density, Reparametrised, HasMean),
            needs={"dataset": (RealStates,)},
            steady=True,  # nothing but its own attributes decides in Python what an update does; leave it out otherwise
        ),
    ]


@chainkit.hookimpl
def chainkit_networks() -> list[Component]:
    """Networks inside operators."""
    return [
        Component(
            name="placeholder-residual",
            config=configs.NetworkConfig,
            build="chainkit_placeholder.network:build",
            example={"width": 16},
            steady=True,
        ),
    ]


@chainkit.hookimpl
def chainkit_processes() -> list[Component]:
    """Forward processes q(s_1..s_K | x)."""
    return [
        Component(
            name="placeholder-bridge",
            config=configs.ProcessConfig,
            build="chainkit_placeholder.process:build",
            example={"noise": 0.6},  # as wide as the steps of the testing kit's chain: log w then varies little
            needs={"dataset": (RealStates,), "operator": (Density,)},
            steady=True,
        ),
    ]


@chainkit.hookimpl
def chainkit_objectives() -> list[Component]:
    """What is minimised."""
    return [
        Component(
            name="placeholder-blend",
            config=configs.ObjectiveConfig,
            build="chainkit_placeholder.objective:build",
            needs={"operator": (Density,)},
            steady=True,
        ),
    ]


@chainkit.hookimpl
def chainkit_schedules() -> list[Component]:
    """Numbers by step: temperatures, rates, variances."""
    return [
        Component(
            name="placeholder-swing",
            config=configs.ScheduleConfig,
            build="chainkit_placeholder.schedule:build",
            example={"end": 2.0},
            steady=True,
        ),
    ]


@chainkit.hookimpl
def chainkit_priors() -> list[Component]:
    """Where generative chains start, p*(s_K)."""
    return [
        Component(
            name="placeholder-student",
            config=configs.PriorConfig,
            build="chainkit_placeholder.prior:build",
            provides=(Factorial, Density, Reparametrised, HasMean),
            needs={"dataset": (RealStates,)},
            steady=True,
        ),
    ]


@chainkit.hookimpl
def chainkit_datasets() -> list[Component]:
    """Data."""
    return [
        Component(
            name="placeholder-digits",
            config=configs.DatasetConfig,
            build="chainkit_placeholder.dataset:build",
            example={"digits": [0, 1]},
            provides=(RealStates, ImageStates),
        ),
    ]


@chainkit.hookimpl
def chainkit_estimators() -> list[Component]:
    """Figures at the end of a run."""
    return [
        Component(
            name="placeholder-gap",
            config=configs.EstimatorConfig,
            build="chainkit_placeholder.estimator:build",
            needs={"operator": (Density,), "prior": (Density,)},
        ),
    ]


@chainkit.hookimpl
def chainkit_optimizers() -> list[Component]:
    """Optimisers."""
    return [
        Component(
            name="placeholder-sign",
            config=configs.OptimizerConfig,
            build="chainkit_placeholder.optimizer:build",
        ),
    ]


@chainkit.hookimpl
def chainkit_decays() -> list[Component]:
    """Learning-rate schedules."""
    return [
        Component(
            name="placeholder-trapezoid",
            config=configs.DecayConfig,
            build="chainkit_placeholder.decay:build",
        ),
    ]


@chainkit.hookimpl
def chainkit_observers() -> list[Component]:
    """Watchers of a run."""
    return [
        Component(
            name="placeholder-drift",
            config=configs.ObserverConfig,
            build="chainkit_placeholder.observer:build",
        ),
    ]


@chainkit.hookimpl
def chainkit_recipes() -> list[Path]:
    """Recipes that can be run by name."""
    return [Path(__file__).parent / "recipes"]
