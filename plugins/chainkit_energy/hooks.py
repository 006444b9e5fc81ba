"""What this plugin registers."""

from __future__ import annotations

import chainkit
from chainkit.capabilities import BinaryStates, Density, Factorial, HasMean, RealStates, Reparametrised, Reversible
from chainkit.component import Component
from chainkit_energy.capabilities import FromEnergy, HiddenUnits, Summable

chainkit_api = (1, 1)

TILTED = {"type": "tilted", "network": {"type": "mlp", "hidden": [16], "activation": "tanh"}}
ANNEALED = (FromEnergy, Reversible)


@chainkit.hookimpl
def chainkit_parts() -> dict[str, list[Component]]:
    """Energies."""
    return {
        "energy": [
            Component(
                name="rbm",
                config="chainkit_energy.configs:RBMConfig",
                build="chainkit_energy.rbm:build",
                example={"hidden": 4},
                provides=(HiddenUnits,),
                needs={"dataset": (BinaryStates,)},
                steady=True,
            ),
            Component(
                name="rbm-gaussian",
                config="chainkit_energy.configs:GaussianRBMConfig",
                build="chainkit_energy.rbm:build_gaussian",
                example={"hidden": 4},
                provides=(HiddenUnits,),
                needs={"dataset": (RealStates,)},
                steady=True,
            ),
            Component(
                name="tilted",
                config="chainkit_energy.configs:TiltedConfig",
                build="chainkit_energy.tilted:build",
                example={"network": TILTED["network"]},
                needs={"prior": (Density,)},
                steady=True,
            ),
        ]
    }


@chainkit.hookimpl
def chainkit_operators() -> list[Component]:
    """Langevin, Hamiltonian and Gibbs sampling."""
    return [*_along_gradients(), *_by_conditionals()]


def _along_gradients() -> list[Component]:
    needs = {"dataset": (RealStates,)}
    return [
        Component(
            name="langevin",
            config="chainkit_energy.configs:LangevinConfig",
            build="chainkit_energy.langevin:build",
            example={"energy": TILTED},
            provides=(Factorial, Density, Reparametrised, HasMean, FromEnergy),
            needs=needs,
            steady=True,
        ),
        Component(
            name="langevin-adjusted",
            config="chainkit_energy.configs:AdjustedLangevinConfig",
            build="chainkit_energy.hamiltonian:build_adjusted",
            example={"energy": TILTED},
            provides=ANNEALED,
            needs=needs,
            steady=True,
        ),
        Component(
            name="hamiltonian",
            config="chainkit_energy.configs:HamiltonianConfig",
            build="chainkit_energy.hamiltonian:build",
            example={"energy": TILTED, "leapfrog": 2},
            provides=ANNEALED,
            needs=needs,
            steady=True,
        ),
    ]


def _by_conditionals() -> list[Component]:
    return [
        Component(
            name="gibbs",
            config="chainkit_energy.configs:GibbsConfig",
            build="chainkit_energy.gibbs:build",
            example={"energy": TILTED},
            provides=(*ANNEALED, Summable),
            needs={"dataset": (BinaryStates,)},
            steady=True,
        ),
        Component(
            name="block-gibbs",
            config="chainkit_energy.configs:BlockGibbsConfig",
            build="chainkit_energy.block_gibbs:build",
            example={"energy": {"type": "rbm", "hidden": 4}},
            provides=(*ANNEALED, Summable),
            steady=True,
        ),
    ]


@chainkit.hookimpl
def chainkit_objectives() -> list[Component]:
    """Maximum likelihood with samples of the model."""
    return [
        Component(
            name="contrastive-divergence",
            config="chainkit_energy.configs:ContrastiveConfig",
            build="chainkit_energy.divergence:build",
            needs={"operator": (FromEnergy,)},
            steady=True,
        ),
        Component(
            name="persistent-divergence",
            config="chainkit_energy.configs:PersistentConfig",
            build="chainkit_energy.divergence:build_persistent",
            example={"chains": 10},
            needs={"operator": (FromEnergy,)},
            steady=True,
        ),
    ]


@chainkit.hookimpl
def chainkit_schedules() -> list[Component]:
    """Temperatures."""
    return [
        Component(name="annealed", config="chainkit_energy.configs:AnnealedConfig", build="chainkit_energy.schedules:build", steady=True)
    ]


@chainkit.hookimpl
def chainkit_estimators() -> list[Component]:
    """log p(x) of an energy, from above, from below, and exactly."""
    return [
        Component(
            name="ais",
            config="chainkit_energy.configs:AISConfig",
            build="chainkit_energy.ais:build",
            example={"chains": 10},
            needs={"operator": ANNEALED},
        ),
        Component(
            name="raise",
            config="chainkit_energy.configs:RAISEConfig",
            build="chainkit_energy.reverse_ais:build",
            example={"walks": 2},
            needs={"operator": ANNEALED},
        ),
        Component(
            name="bidirectional",
            config="chainkit_energy.configs:BidirectionalConfig",
            build="chainkit_energy.bidirectional:build",
            example={"walks": 2},
            needs={"operator": ANNEALED},
        ),
        Component(
            name="enumerated",
            config="chainkit_energy.configs:EnumeratedConfig",
            build="chainkit_energy.enumerated:build",
            needs={"operator": (FromEnergy, Summable)},
        ),
    ]
