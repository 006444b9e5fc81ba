r"""Points in the plane.

All are a curve or a set of centres, and normal noise around it. Their densities are known
(:mod:`chainkit_datasets.smeared`), so that a model can be held against the optimum.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor

from chainkit.component import Context
from chainkit.data import Data, Law, Split
from chainkit.random import integers, normal, uniform
from chainkit_datasets.drawn import draw_splits
from chainkit_datasets.drawn_configs import CircleConfig, DrawnConfig, GridConfig, SpiralConfig, SwissRollConfig
from chainkit_datasets.preparation import Given
from chainkit_datasets.smeared import along, log_density

ROLL = (1.5 * math.pi, 4.5 * math.pi)
"""Range of t, the swiss roll's angle and radius."""

Unit: TypeAlias = tuple[Tensor, Tensor]
"""What is subtracted from points, and what they are divided by then, [2] each."""

ORIGINAL: Unit = (torch.zeros(2, dtype=torch.float64), torch.ones(2, dtype=torch.float64))


def roll_moments(noise: float) -> tuple[Tensor, Tensor]:
    r"""Mean and standard deviation of the swiss roll, per axis.

    With t uniform on [a, b] = [3 pi / 2, 9 pi / 2]:
    :math:`E[t \cos t] = 2`, :math:`E[t \sin t] = 2 / (3 \pi)`,
    :math:`E[t^2 \cos^2 t] = E[t^2] / 2 - 1 / 4`, :math:`E[t^2 \sin^2 t] = E[t^2] / 2 + 1 / 4`.

    Arguments:
        noise: Standard deviation of the noise.
    """
    low, high = ROLL
    mean = torch.tensor([2.0, 2 / (3 * math.pi)], dtype=torch.float64)
    half = (low * low + low * high + high * high) / 6
    square = torch.tensor([half - 0.25, half + 0.25], dtype=torch.float64)
    return mean, (square - mean.square() + noise**2).sqrt()


def _polar(radius: Tensor, angle: Tensor) -> Tensor:
    return torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1)


def _uniform(n: int, source: torch.Generator) -> Tensor:
    return uniform(torch.empty(n, dtype=torch.float64), source)


def _noisy(centre: Tensor, noise: float, source: torch.Generator) -> Tensor:
    return centre + noise * normal(centre, source)


def _curve(
    name: str, config: DrawnConfig, noise: float, curve: Callable[[Tensor], Tensor], *, words: str = "as it is", unit: Unit = ORIGINAL
) -> Data:
    """Points around a curve, which is given as a function of numbers that are uniform on [0, 1)."""
    mean, scale = unit

    def draw(split: str, n: int, source: torch.Generator) -> Split:
        points = _noisy(curve(_uniform(n, source)), noise, source)
        return Split(values=((points - mean) / scale).float())

    return Data(name, draw_splits(name, config, draw), Given(words), log_density=_law(lambda: along(curve, noise), noise, unit))


def _law(centres: Callable[[], Tensor], noise: float, unit: Unit = ORIGINAL) -> Law | None:
    """The log density of points that were shifted and scaled; None without noise, where there is none."""
    if not noise:
        return None
    mean, scale = unit
    found = functools.cache(centres)
    volume = float(scale.log().sum())

    def law(points: Tensor, condition: Any) -> Tensor:
        return log_density(points.double() * scale.to(points.device) + mean.to(points.device), found(), noise) + volume

    return law


def build_swiss_roll(config: SwissRollConfig, context: Context) -> Data:
    """The swiss roll, [2]; the words of a standardised one tell the numbers it was standardised with."""
    mean, scale = unit = roll_moments(config.noise)
    words = f"standardised: minus ({mean[0]:.3f}, {mean[1]:.3f}), divided by ({scale[0]:.3f}, {scale[1]:.3f})"

    def curve(u: Tensor) -> Tensor:
        t = ROLL[0] + (ROLL[1] - ROLL[0]) * u
        return _polar(t, t)

    if config.standardise:
        return _curve("swiss-roll", config, config.noise, curve, words=words, unit=unit)
    return _curve("swiss-roll", config, config.noise, curve)


def build_spiral(config: SpiralConfig, context: Context) -> Data:
    """The spiral, [2], within the unit disc up to noise; points lie evenly along it away from the middle."""

    def curve(u: Tensor) -> Tensor:
        t = u.sqrt()
        return _polar(t, 2 * math.pi * config.turns * t)

    return _curve("spiral", config, config.noise, curve)


def build_circle(config: CircleConfig, context: Context) -> Data:
    """The circle of radius 1, [2]."""

    def curve(u: Tensor) -> Tensor:
        angle = 2 * math.pi * u
        return _polar(torch.ones_like(angle), angle)

    return _curve("circle", config, config.noise, curve)


def _centre(label: Tensor) -> Tensor:
    return torch.stack([label // 3 - 1, label % 3 - 1], dim=1).double()


def build_grid(config: GridConfig, context: Context) -> Data:
    """The 3x3 grid of Gaussians, [2]; label 3 i + j is the Gaussian at (i - 1, j - 1)."""

    def draw(split: str, n: int, source: torch.Generator) -> Split:
        label = integers(0, 8, n, "cpu", source)
        return Split(values=_noisy(_centre(label), config.noise, source).float(), labels=label)

    def given_the_label(points: Tensor, label: Tensor) -> Tensor:
        return log_density(points - _centre(label), torch.zeros(1, 2, dtype=torch.float64), config.noise)

    whole = _law(lambda: _centre(torch.arange(9)), config.noise)
    law = given_the_label if config.labels and config.noise else whole
    return Data("grid-3x3", draw_splits("grid-3x3", config, draw), Given("as it is"), 9 if config.labels else None, law)
