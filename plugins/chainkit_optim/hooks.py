"""What this plugin registers."""

from __future__ import annotations

import chainkit
from chainkit.component import Component
from chainkit_optim.configs import (
    AdamConfig,
    AdamWConfig,
    CosineConfig,
    ExponentialConfig,
    LinearConfig,
    MilestonesConfig,
    RMSpropConfig,
    SGDConfig,
    StepConfig,
)

chainkit_api = (1, 1)


@chainkit.hookimpl
def chainkit_optimizers() -> list[Component]:
    """Optimisers of ``torch.optim``."""
    return [
        Component(name="adam", config=AdamConfig, build="chainkit_optim.optimizers:build_adam"),
        Component(name="adamw", config=AdamWConfig, build="chainkit_optim.optimizers:build_adamw"),
        Component(name="sgd", config=SGDConfig, build="chainkit_optim.optimizers:build_sgd", example={"lr": 0.01}),
        Component(name="rmsprop", config=RMSpropConfig, build="chainkit_optim.optimizers:build_rmsprop"),
    ]


@chainkit.hookimpl
def chainkit_decays() -> list[Component]:
    """Learning-rate schedules."""
    return [
        Component(name="cosine", config=CosineConfig, build="chainkit_optim.decays:build_cosine"),
        Component(name="linear", config=LinearConfig, build="chainkit_optim.decays:build_linear"),
        Component(name="exponential", config=ExponentialConfig, build="chainkit_optim.decays:build_exponential"),
        Component(name="milestones", config=MilestonesConfig, build="chainkit_optim.decays:build_milestones"),
        Component(name="step", config=StepConfig, build="chainkit_optim.decays:build_step", example={"every": 1000}),
    ]
