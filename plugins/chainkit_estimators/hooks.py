"""What this plugin registers."""

from __future__ import annotations

import chainkit
from chainkit.component import Component
from chainkit_estimators.configs import (
    ClassifierConfig,
    FactorialConfig,
    ImportanceConfig,
    LowerBoundConfig,
    ParzenConfig,
    PriorGapConfig,
)

chainkit_api = (1, 1)


@chainkit.hookimpl
def chainkit_estimators() -> list[Component]:
    """Figures on the scale of log p(x), and what to read beside them."""
    return [
        Component(name="lower-bound", config=LowerBoundConfig, build="chainkit_estimators.lower_bound:build", example={"walks": 2}),
        Component(name="importance", config=ImportanceConfig, build="chainkit_estimators.importance:build", example={"walks": 20}),
        Component(name="factorial", config=FactorialConfig, build="chainkit_estimators.factorial:build"),
        Component(name="parzen", config=ParzenConfig, build="chainkit_estimators.parzen:build", example={"samples": 50}),
        Component(name="prior-gap", config=PriorGapConfig, build="chainkit_estimators.prior_gap:build"),
        Component(
            name="classifier",
            config=ClassifierConfig,
            build="chainkit_estimators.classifier:build",
            example={"samples": 10, "hidden": 8, "epochs": 1},
        ),
    ]
