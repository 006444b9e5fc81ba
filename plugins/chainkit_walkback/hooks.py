"""What this plugin registers."""

from __future__ import annotations

import chainkit
from chainkit.capabilities import BinaryStates, Density, Factorial, HasMean, RealStates, Reparametrised
from chainkit.component import Component
from chainkit_walkback.capabilities import WalksAway

chainkit_api = (1, 1)

SMALL = {"network": {"type": "mlp", "hidden": [16]}}


@chainkit.hookimpl
def chainkit_processes() -> list[Component]:
    """The walk away from data."""
    return [
        Component(
            name="heated",
            config="chainkit_walkback.configs:HeatedConfig",
            build="chainkit_walkback.heated:build",
            provides=(WalksAway,),
            steady=True,
        ),
    ]


@chainkit.hookimpl
def chainkit_objectives() -> list[Component]:
    """Algorithm 1, and the full gradient of eq. 8."""
    return [
        Component(
            name="walkback",
            config="chainkit_walkback.configs:WalkbackConfig",
            build="chainkit_walkback.local:build",
            needs={"operator": (Density,)},
            steady=True,
        ),
        Component(
            name="walkback-bound",
            config="chainkit_walkback.configs:BoundConfig",
            build="chainkit_walkback.bound:build",
            needs={"operator": (Density,), "process": (WalksAway,)},
            steady=True,
        ),
    ]


@chainkit.hookimpl
def chainkit_operators() -> list[Component]:
    """Eqs. 11-13."""
    return [
        Component(
            name="walkback-bernoulli",
            config="chainkit_walkback.configs:BernoulliConfig",
            build="chainkit_walkback.bernoulli:build",
            example=SMALL,
            provides=(Factorial, Density, HasMean),
            needs={"dataset": (BinaryStates,)},
            steady=True,
        ),
        Component(
            name="walkback-gaussian",
            config="chainkit_walkback.configs:GaussianConfig",
            build="chainkit_walkback.gaussian:build",
            example=SMALL,
            provides=(Factorial, Density, Reparametrised, HasMean),
            needs={"dataset": (RealStates,)},
            steady=True,
        ),
        Component(
            name="walkback-gaussian-printed",
            config="chainkit_walkback.configs:PrintedGaussianConfig",
            build="chainkit_walkback.printed:build",
            example=SMALL,
            provides=(Factorial, Density, Reparametrised, HasMean),
            needs={"dataset": (RealStates,)},
            steady=True,
        ),
    ]


@chainkit.hookimpl
def chainkit_schedules() -> list[Component]:
    """Temperatures."""
    return [
        Component(
            name="geometric",
            config="chainkit_walkback.configs:GeometricConfig",
            build="chainkit_walkback.schedules:build_geometric",
            steady=True,
        ),
        Component(
            name="constant",
            config="chainkit_walkback.configs:ConstantConfig",
            build="chainkit_walkback.schedules:build_constant",
            steady=True,
        ),
    ]
