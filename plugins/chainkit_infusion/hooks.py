"""What this plugin registers."""

from __future__ import annotations

import chainkit
from chainkit.capabilities import BinaryStates, Density, Factorial, HasMean, RealStates, Reparametrised
from chainkit.component import Component

chainkit_api = (1, 1)

_GAUSSIAN = (Factorial, Density, Reparametrised, HasMean)
_FACTORIAL = {"operator": (Factorial,), "prior": (Factorial,)}
_SMALL = {"network": {"type": "mlp", "hidden": [16]}}


@chainkit.hookimpl
def chainkit_schedules() -> list[Component]:
    """The infusion rate."""
    return [
        Component(
            name="increasing",
            config="chainkit_infusion.configs:IncreasingConfig",
            build="chainkit_infusion.rate:build",
            example={"omega": 0.02},
            steady=True,
        )
    ]


@chainkit.hookimpl
def chainkit_processes() -> list[Component]:
    """The infusion chain, for real and for binary data."""
    return [
        Component(
            name="infusion",
            config="chainkit_infusion.configs:InfusionConfig",
            build="chainkit_infusion.process:build",
            example={"rate": {"type": "increasing", "omega": 0.02}},
            needs={"dataset": (RealStates,), **_FACTORIAL},
            steady=True,
        ),
        Component(
            name="infusion-binary",
            config="chainkit_infusion.configs:BinaryInfusionConfig",
            build="chainkit_infusion.process:build_binary",
            example={"rate": {"type": "increasing", "omega": 0.02}},
            needs={"dataset": (BinaryStates,), **_FACTORIAL},
            steady=True,
        ),
    ]


@chainkit.hookimpl
def chainkit_operators() -> list[Component]:
    """Factorial Gaussians."""
    return [
        Component(
            name="infusion-gaussian",
            config="chainkit_infusion.configs:InfusionGaussianConfig",
            build="chainkit_infusion.gaussian:build",
            example=_SMALL,
            provides=_GAUSSIAN,
            needs={"dataset": (RealStates,)},
            steady=True,
        ),
        Component(
            name="infusion-isotropic",
            config="chainkit_infusion.configs:InfusionIsotropicConfig",
            build="chainkit_infusion.isotropic:build",
            example=_SMALL,
            provides=_GAUSSIAN,
            needs={"dataset": (RealStates,)},
            steady=True,
        ),
    ]


@chainkit.hookimpl
def chainkit_objectives() -> list[Component]:
    """Denoising, and the bound."""
    return [
        Component(
            name="denoising",
            config="chainkit_infusion.configs:DenoisingConfig",
            build="chainkit_infusion.objectives:denoising",
            needs={"operator": (Density,)},
            steady=True,
        ),
        Component(
            name="lower-bound",
            config="chainkit_infusion.configs:LowerBoundConfig",
            build="chainkit_infusion.objectives:lower_bound",
            needs={"operator": (Density, Reparametrised), "prior": (Density, Reparametrised)},
            steady=True,
        ),
    ]
