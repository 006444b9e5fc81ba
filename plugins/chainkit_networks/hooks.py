"""What this plugin registers."""

from __future__ import annotations

import chainkit
from chainkit.capabilities import ImageStates
from chainkit.component import Component

chainkit_api = (1, 1)


@chainkit.hookimpl
def chainkit_networks() -> list[Component]:
    """Networks over vectors and over images."""
    return [
        Component(
            name="mlp",
            config="chainkit_networks.configs:MLPConfig",
            build="chainkit_networks.mlp:build",
            example={"hidden": [16]},
            steady=True,
        ),
        Component(name="rbf", config="chainkit_networks.configs:RBFConfig", build="chainkit_networks.rbf:build", steady=True),
        Component(
            name="conv",
            config="chainkit_networks.configs:ConvConfig",
            build="chainkit_networks.conv:build",
            example={"channels": [4, 8], "hidden": [16]},
            needs={"dataset": (ImageStates,)},
            steady=True,
        ),
        Component(
            name="generator",
            config="chainkit_networks.configs:GeneratorConfig",
            build="chainkit_networks.generator:build",
            example={"channels": [8, 4]},
            needs={"dataset": (ImageStates,)},
            steady=True,
        ),
    ]
