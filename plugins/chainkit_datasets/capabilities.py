"""What datasets provide under their settings."""

from __future__ import annotations

from typing import Any

from chainkit.capabilities import BinaryStates, ImageStates, Labelled, RealStates


def image_states(config: Any) -> tuple[type, ...]:
    """What a dataset of images provides, whose config is a ``QuantisedConfig``."""
    states = RealStates if config.binarize == "none" else BinaryStates
    return (states,) if config.flatten else (states, ImageStates)


def labelled_image_states(config: Any) -> tuple[type, ...]:
    """What a dataset of images with a ``labels`` key provides."""
    return (*image_states(config), Labelled) if config.labels else image_states(config)
