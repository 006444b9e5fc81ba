"""What this plugin registers."""

from __future__ import annotations

import chainkit
from chainkit.component import Component

chainkit_api = (1, 1)


@chainkit.hookimpl
def chainkit_observers() -> list[Component]:
    """The TensorBoard observer."""
    return [
        Component(
            name="tensorboard",
            config="chainkit_tensorboard.configs:TensorboardConfig",
            build="chainkit_tensorboard.observer:build_tensorboard",
        )
    ]
