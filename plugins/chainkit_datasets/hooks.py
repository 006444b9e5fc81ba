"""What this plugin registers."""

from __future__ import annotations

from typing import Any

import chainkit
from chainkit.capabilities import BinaryStates, KnownLaw, Labelled, RealStates
from chainkit.component import Component
from chainkit_datasets.capabilities import image_states, labelled_image_states

chainkit_api = (1, 1)


def _labelled(config: Any, *states: type) -> tuple[type, ...]:
    return (*states, Labelled) if config.labels else states


def _plane(config: Any) -> tuple[type, ...]:
    """Points have a density where there is noise around what they are drawn from."""
    return (RealStates, KnownLaw) if config.noise else (RealStates,)


def _known_once_read(config: Any) -> None:
    """Kind and shape of the states are those of the file."""


@chainkit.hookimpl
def chainkit_datasets() -> list[Component]:
    """Images, points in the plane, binary sequences, arrays."""
    return [
        Component(
            name="digits",
            config="chainkit_datasets.configs:DigitsConfig",
            build="chainkit_datasets.digits:build_digits",
            provides=labelled_image_states,
        ),
        Component(
            name="patches",
            config="chainkit_datasets.drawn_configs:PatchesConfig",
            build="chainkit_datasets.patches:build_patches",
            provides=image_states,
        ),
        *_in_the_plane(),
        Component(
            name="heartbeat",
            config="chainkit_datasets.drawn_configs:HeartbeatConfig",
            build="chainkit_datasets.heartbeat:build_heartbeat",
            provides=lambda config: _labelled(config, BinaryStates, KnownLaw),
        ),
        Component(
            name="arrays",
            config="chainkit_datasets.configs:ArraysConfig",
            build="chainkit_datasets.arrays:build_arrays",
            example={"path": "examples.npy"},
            provides=_known_once_read,
        ),
    ]


def _in_the_plane() -> list[Component]:
    return [
        Component(
            name="swiss-roll",
            config="chainkit_datasets.drawn_configs:SwissRollConfig",
            build="chainkit_datasets.plane:build_swiss_roll",
            provides=_plane,
        ),
        Component(
            name="spiral",
            config="chainkit_datasets.drawn_configs:SpiralConfig",
            build="chainkit_datasets.plane:build_spiral",
            provides=_plane,
        ),
        Component(
            name="circle",
            config="chainkit_datasets.drawn_configs:CircleConfig",
            build="chainkit_datasets.plane:build_circle",
            provides=_plane,
        ),
        Component(
            name="grid-3x3",
            config="chainkit_datasets.drawn_configs:GridConfig",
            build="chainkit_datasets.plane:build_grid",
            provides=lambda config: _labelled(config, *_plane(config)),
        ),
    ]
