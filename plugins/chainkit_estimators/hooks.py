"""What this plugin registers."""

from __future__ import annotations

import chainkit
from chainkit.capabilities import Density, HasMean, ImageStates, KnownLaw, RealStates, Weighable
from chainkit.component import Component

chainkit_api = (1, 1)


@chainkit.hookimpl
def chainkit_estimators() -> list[Component]:
    """Figures on the scale of log p(x), and what to read beside them."""
    return [
        Component(
            name="lower-bound",
            config="chainkit_estimators.configs:LowerBoundConfig",
            build="chainkit_estimators.lower_bound:build",
            example={"walks": 2},
            needs={"operator": (Weighable,)},
        ),
        Component(
            name="importance",
            config="chainkit_estimators.configs:ImportanceConfig",
            build="chainkit_estimators.importance:build",
            example={"walks": 20},
            needs={"operator": (Weighable,)},
        ),
        *_beside(),
        Component(
            name="classifier",
            config="chainkit_estimators.configs:ClassifierConfig",
            build="chainkit_estimators.classifier:build",
            example={"samples": 10, "hidden": 8, "epochs": 1},
        ),
        Component(
            name="isotropic",
            config="chainkit_estimators.sample_configs:IsotropicConfig",
            build="chainkit_estimators.isotropic:build",
            example={"estimator": {"type": "lower-bound", "walks": 2}, "fit_walks": 2, "fit_examples": 20},
            needs={"dataset": (RealStates,), "operator": (Density, HasMean)},
        ),
        *_about_samples(),
    ]


def _beside() -> list[Component]:
    return [
        Component(name="factorial", config="chainkit_estimators.configs:FactorialConfig", build="chainkit_estimators.factorial:build"),
        Component(
            name="optimum",
            config="chainkit_estimators.configs:OptimumConfig",
            build="chainkit_estimators.optimum:build",
            needs={"dataset": (KnownLaw,)},
        ),
        Component(
            name="parzen",
            config="chainkit_estimators.configs:ParzenConfig",
            build="chainkit_estimators.parzen:build",
            example={"samples": 50},
        ),
        Component(name="prior-gap", config="chainkit_estimators.configs:PriorGapConfig", build="chainkit_estimators.prior_gap:build"),
    ]


def _about_samples() -> list[Component]:
    return [
        Component(
            name="mmd",
            config="chainkit_estimators.sample_configs:MmdConfig",
            build="chainkit_estimators.mmd:build",
            example={"samples": 20},
        ),
        Component(
            name="neighbours",
            config="chainkit_estimators.sample_configs:NeighboursConfig",
            build="chainkit_estimators.neighbours:build",
            example={"samples": 20, "k": 3},
        ),
        Component(
            name="copying",
            config="chainkit_estimators.sample_configs:CopyingConfig",
            build="chainkit_estimators.copying:build",
            example={"samples": 20},
        ),
        Component(
            name="frechet",
            config="chainkit_estimators.sample_configs:FrechetConfig",
            build="chainkit_estimators.frechet:build",
            example={"samples": 40, "features": "pixels"},
        ),
        Component(
            name="class-score",
            config="chainkit_estimators.sample_configs:ClassScoreConfig",
            build="chainkit_estimators.class_score:build",
            example={"samples": 20},
        ),
        Component(
            name="fidelity",
            config="chainkit_estimators.sample_configs:FidelityConfig",
            build="chainkit_estimators.fidelity:build",
            example={"samples": 20},
            needs={"dataset": (ImageStates,)},
        ),
    ]
