"""What this plugin registers."""

from __future__ import annotations

import chainkit
from chainkit.capabilities import (
    BinaryStates,
    Density,
    Factorial,
    HasMean,
    Marginals,
    Posteriors,
    RandomAccess,
    RealStates,
    Reparametrised,
    Respaceable,
)
from chainkit.component import Component
from chainkit_diffusion.capabilities import BinomialSteps, GaussianSteps, PredictsNoise

chainkit_api = (1, 1)

_ACCESS = (Marginals, Posteriors, RandomAccess)
_GAUSSIAN = (Factorial, Density, Reparametrised, HasMean)
_SMALL = {"network": {"type": "mlp", "hidden": [16]}}


@chainkit.hookimpl
def chainkit_schedules() -> list[Component]:
    """Variance schedules."""
    return [
        Component(
            name="variance-linear",
            config="chainkit_diffusion.configs:LinearConfig",
            build="chainkit_diffusion.schedules:linear",
            steady=True,
        ),
        Component(
            name="variance-geometric",
            config="chainkit_diffusion.configs:GeometricConfig",
            build="chainkit_diffusion.schedules:geometric",
            steady=True,
        ),
        Component(
            name="variance-fixed",
            config="chainkit_diffusion.configs:FixedConfig",
            build="chainkit_diffusion.schedules:fixed",
            example={"values": [0.1]},
            steady=True,
        ),
        Component(
            name="variance-cosine",
            config="chainkit_diffusion.configs:CosineConfig",
            build="chainkit_diffusion.schedules:cosine",
            steady=True,
        ),
        Component(
            name="variance-harmonic",
            config="chainkit_diffusion.configs:HarmonicConfig",
            build="chainkit_diffusion.schedules:harmonic",
            steady=True,
        ),
        Component(
            name="variance-learned",
            config="chainkit_diffusion.configs:LearnedConfig",
            build="chainkit_diffusion.schedules:learned",
            steady=True,
        ),
    ]


@chainkit.hookimpl
def chainkit_processes() -> list[Component]:
    """Fixed diffusions."""
    return [
        Component(
            name="diffusion-gaussian",
            config="chainkit_diffusion.configs:GaussianDiffusionConfig",
            build="chainkit_diffusion.gaussian:build",
            provides=(*_ACCESS, GaussianSteps),
            needs={"dataset": (RealStates,)},
            steady=True,
        ),
        Component(
            name="diffusion-binomial",
            config="chainkit_diffusion.configs:BinomialDiffusionConfig",
            build="chainkit_diffusion.binomial:build",
            provides=(*_ACCESS, BinomialSteps),
            needs={"dataset": (BinaryStates,)},
            steady=True,
        ),
    ]


@chainkit.hookimpl
def chainkit_operators() -> list[Component]:
    """Learned reverses."""
    return [
        Component(
            name="diffusion-gaussian",
            config="chainkit_diffusion.configs:GaussianReverseConfig",
            build="chainkit_diffusion.gaussian_reverse:build",
            example=_SMALL,
            provides=_GAUSSIAN,
            needs={"dataset": (RealStates,), "process": (GaussianSteps,)},
            steady=True,
        ),
        Component(
            name="diffusion-bernoulli",
            config="chainkit_diffusion.configs:BernoulliReverseConfig",
            build="chainkit_diffusion.bernoulli_reverse:build",
            example=_SMALL,
            provides=(Factorial, Density, HasMean),
            needs={"dataset": (BinaryStates,), "process": (BinomialSteps,)},
            steady=True,
        ),
        Component(
            name="data-prediction",
            config="chainkit_diffusion.configs:DataPredictionConfig",
            build="chainkit_diffusion.data_prediction:build",
            example=_SMALL,
            provides=_GAUSSIAN,
            needs={"dataset": (RealStates,), "process": (GaussianSteps,)},
            steady=True,
        ),
        Component(
            name="noise-prediction",
            config="chainkit_diffusion.configs:NoisePredictionConfig",
            build="chainkit_diffusion.noise_prediction:build",
            example=_SMALL,
            provides=(*_GAUSSIAN, PredictsNoise, Respaceable),
            needs={"dataset": (RealStates,), "process": (GaussianSteps,)},
            steady=True,
        ),
    ]


@chainkit.hookimpl
def chainkit_objectives() -> list[Component]:
    """What they are trained on."""
    return [
        Component(
            name="diffusion-bound",
            config="chainkit_diffusion.configs:DiffusionBoundConfig",
            build="chainkit_diffusion.bound:build",
            needs={"process": (Posteriors,), "operator": (Density,), "prior": (Density,)},
            steady=True,
        ),
        Component(
            name="diffusion-simple",
            config="chainkit_diffusion.configs:DiffusionSimpleConfig",
            build="chainkit_diffusion.simple:build",
            needs={"process": (RandomAccess, GaussianSteps), "operator": (PredictsNoise,)},
            steady=True,
        ),
    ]
