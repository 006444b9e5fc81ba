"""What this plugin registers."""

from __future__ import annotations

import chainkit
from chainkit.capabilities import BinaryStates, Density, Factorial, HasMean, RealStates, Reparametrised
from chainkit.component import Component

chainkit_api = (1, 1)


@chainkit.hookimpl
def chainkit_priors() -> list[Component]:
    """Factorial noise."""
    return [
        Component(
            name="gaussian",
            config="chainkit_priors.configs:GaussianConfig",
            build="chainkit_priors.gaussian:build",
            provides=(Factorial, Density, Reparametrised, HasMean),
            needs={"dataset": (RealStates,)},
            steady=True,
        ),
        Component(
            name="bernoulli",
            config="chainkit_priors.configs:BernoulliConfig",
            build="chainkit_priors.bernoulli:build",
            provides=(Factorial, Density, HasMean),
            needs={"dataset": (BinaryStates,)},
            steady=True,
        ),
    ]
