"""What this plugin registers."""

from __future__ import annotations

import chainkit
from chainkit.component import Component

chainkit_api = (1, 1)


@chainkit.hookimpl
def chainkit_optimizers() -> list[Component]:
    """Optimisers of ``torch.optim``."""
    return [
        Component(name="adam", config="chainkit_optim.configs:AdamConfig", build="chainkit_optim.optimizers:build_adam"),
        Component(name="adamw", config="chainkit_optim.configs:AdamWConfig", build="chainkit_optim.optimizers:build_adamw"),
        Component(name="sgd", config="chainkit_optim.configs:SGDConfig", build="chainkit_optim.optimizers:build_sgd", example={"lr": 0.01}),
        Component(name="rmsprop", config="chainkit_optim.configs:RMSpropConfig", build="chainkit_optim.optimizers:build_rmsprop"),
    ]


@chainkit.hookimpl
def chainkit_decays() -> list[Component]:
    """Learning-rate schedules."""
    return [
        Component(name="cosine", config="chainkit_optim.decay_configs:CosineConfig", build="chainkit_optim.decays:build_cosine"),
        Component(name="linear", config="chainkit_optim.decay_configs:LinearConfig", build="chainkit_optim.decays:build_linear"),
        Component(
            name="exponential", config="chainkit_optim.decay_configs:ExponentialConfig", build="chainkit_optim.decays:build_exponential"
        ),
        Component(
            name="milestones", config="chainkit_optim.decay_configs:MilestonesConfig", build="chainkit_optim.decays:build_milestones"
        ),
        Component(
            name="step",
            config="chainkit_optim.decay_configs:StepConfig",
            build="chainkit_optim.decays:build_step",
            example={"every": 1000},
        ),
    ]
