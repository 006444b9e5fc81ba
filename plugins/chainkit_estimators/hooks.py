"""What this plugin registers."""

from __future__ import annotations

import chainkit
from chainkit.capabilities import Density, HasMean, ImageStates, KnownLaw, RealStates, Weighable
from chainkit.component import Component
from chainkit_estimators.configs import (
    ClassifierConfig,
    FactorialConfig,
    ImportanceConfig,
    LowerBoundConfig,
    OptimumConfig,
    ParzenConfig,
    PriorGapConfig,
)
from chainkit_estimators.sample_configs import (
    ClassScoreConfig,
    CopyingConfig,
    FidelityConfig,
    FrechetConfig,
    IsotropicConfig,
    MmdConfig,
    NeighboursConfig,
)

chainkit_api = (1, 1)


@chainkit.hookimpl
def chainkit_estimators() -> list[Component]:
    """Figures on the scale of log p(x), and what to read beside them."""
    return [
        Component(
            name="lower-bound",
            config=LowerBoundConfig,
            build="chainkit_estimators.lower_bound:build",
            example={"walks": 2},
            needs={"operator": (Weighable,)},
        ),
        Component(
            name="importance",
            config=ImportanceConfig,
            build="chainkit_estimators.importance:build",
            example={"walks": 20},
            needs={"operator": (Weighable,)},
        ),
        Component(name="factorial", config=FactorialConfig, build="chainkit_estimators.factorial:build"),
        Component(
            name="optimum",
            config=OptimumConfig,
            build="chainkit_estimators.optimum:build",
            needs={"dataset": (KnownLaw,)},
        ),
        Component(name="parzen", config=ParzenConfig, build="chainkit_estimators.parzen:build", example={"samples": 50}),
        Component(name="prior-gap", config=PriorGapConfig, build="chainkit_estimators.prior_gap:build"),
        Component(
            name="classifier",
            config=ClassifierConfig,
            build="chainkit_estimators.classifier:build",
            example={"samples": 10, "hidden": 8, "epochs": 1},
        ),
        Component(
            name="isotropic",
            config=IsotropicConfig,
            build="chainkit_estimators.isotropic:build",
            example={"estimator": {"type": "lower-bound", "walks": 2}, "fit_walks": 2, "fit_examples": 20},
            needs={"dataset": (RealStates,), "operator": (Density, HasMean)},
        ),
        *_about_samples(),
    ]


def _about_samples() -> list[Component]:
    return [
        Component(name="mmd", config=MmdConfig, build="chainkit_estimators.mmd:build", example={"samples": 20}),
        Component(
            name="neighbours", config=NeighboursConfig, build="chainkit_estimators.neighbours:build", example={"samples": 20, "k": 3}
        ),
        Component(name="copying", config=CopyingConfig, build="chainkit_estimators.copying:build", example={"samples": 20}),
        Component(
            name="frechet", config=FrechetConfig, build="chainkit_estimators.frechet:build", example={"samples": 40, "features": "pixels"}
        ),
        Component(name="class-score", config=ClassScoreConfig, build="chainkit_estimators.class_score:build", example={"samples": 20}),
        Component(
            name="fidelity",
            config=FidelityConfig,
            build="chainkit_estimators.fidelity:build",
            example={"samples": 20},
            needs={"dataset": (ImageStates,)},
        ),
    ]
