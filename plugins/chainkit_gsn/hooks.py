"""What this plugin registers."""

from __future__ import annotations

from typing import Any

import chainkit
from chainkit.capabilities import BinaryStates, Density, Factorial, HasMean, RealStates, Reparametrised
from chainkit.component import Component
from chainkit_gsn.capabilities import KeepsBits, KeepsGaussians, Reconstructs, WalksBack

chainkit_api = (1, 1)

SMALL = {"network": {"type": "mlp", "hidden": [16]}}


@chainkit.hookimpl
def chainkit_parts() -> dict[str, list[Component]]:
    """Corruptions."""
    return {
        "corruption": [
            Component(
                name="salt-and-pepper",
                config="chainkit_gsn.configs:SaltAndPepperConfig",
                build="chainkit_gsn.corruption:build_salt_and_pepper",
                provides=(KeepsBits,),
                steady=True,
            ),
            Component(
                name="masking",
                config="chainkit_gsn.configs:MaskingConfig",
                build="chainkit_gsn.corruption:build_masking",
                provides=(KeepsBits,),
                steady=True,
            ),
            Component(
                name="gaussian-noise",
                config="chainkit_gsn.configs:GaussianNoiseConfig",
                build="chainkit_gsn.corruption:build_gaussian_noise",
                provides=(KeepsGaussians,),
                steady=True,
            ),
        ]
    }


def _gaussian_chain(config: Any) -> tuple[type, ...]:
    """With replaced elements the steps have no density."""
    kept = config.corruption.component.provided(config.corruption.config) or ()
    return (Reconstructs, Factorial, Density, Reparametrised, HasMean) if KeepsGaussians in kept else (Reconstructs,)


@chainkit.hookimpl
def chainkit_operators() -> list[Component]:
    """Autoencoders and the GSN."""
    return [
        Component(
            name="dae-bernoulli",
            config="chainkit_gsn.configs:DenoisingBernoulliConfig",
            build="chainkit_gsn.autoencoder:build_bernoulli",
            example=SMALL,
            provides=(Reconstructs, Factorial, Density, HasMean),
            needs={"dataset": (BinaryStates,)},
            steady=True,
        ),
        Component(
            name="dae-gaussian",
            config="chainkit_gsn.configs:DenoisingGaussianConfig",
            build="chainkit_gsn.autoencoder:build_gaussian",
            # With less noise than the data is wide, log w of an untrained chain is carried by few walks.
            example={"corruption": {"type": "gaussian-noise", "sigma": 2.0}, **SMALL},
            provides=_gaussian_chain,
            needs={"dataset": (RealStates,)},
            steady=True,
        ),
        Component(
            name="gsn",
            config="chainkit_gsn.configs:GSNConfig",
            build="chainkit_gsn.gsn:build",
            example={"hidden": [16, 8], "noise": [0.5]},
            provides=(Reconstructs,),
            needs={"dataset": (BinaryStates,)},
            steady=True,
        ),
    ]


@chainkit.hookimpl
def chainkit_processes() -> list[Component]:
    """The walk of walkback training."""
    return [
        Component(
            name="chain-walk",
            config="chainkit_gsn.configs:WalkbackProcessConfig",
            build="chainkit_gsn.walk:build",
            provides=(WalksBack,),
            needs={"operator": (Reconstructs,)},
            steady=True,
        )
    ]


@chainkit.hookimpl
def chainkit_objectives() -> list[Component]:
    """Reconstruction."""
    return [
        Component(
            name="reconstruction",
            config="chainkit_gsn.configs:ReconstructionConfig",
            build="chainkit_gsn.reconstruction:build",
            needs={"operator": (Reconstructs,), "process": (WalksBack,)},
            steady=True,
        )
    ]


@chainkit.hookimpl
def chainkit_datasets() -> list[Component]:
    """Labels given examples."""
    return [
        Component(
            name="labels-of", config="chainkit_gsn.configs:OutputsConfig", build="chainkit_gsn.outputs:build", provides=(BinaryStates,)
        )
    ]


@chainkit.hookimpl
def chainkit_estimators() -> list[Component]:
    """Accuracy of a conditional chain."""
    return [
        Component(
            name="output-accuracy",
            config="chainkit_gsn.configs:AccuracyConfig",
            build="chainkit_gsn.accuracy:build",
            example={"chains": 2},
        )
    ]
