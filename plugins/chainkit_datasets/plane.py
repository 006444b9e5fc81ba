r"""Points in the plane.

All are a curve or a set of centres, and normal noise around it. Their densities are known, so that
a model can be held against the optimum.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from chainkit.component import Context
from chainkit.data import Data, Split
from chainkit.random import integers, normal, uniform
from chainkit_datasets.configs import CircleConfig, DrawnConfig, GridConfig, SpiralConfig, SwissRollConfig
from chainkit_datasets.drawn import draw_splits
from chainkit_datasets.preparation import Given

ROLL = (1.5 * math.pi, 4.5 * math.pi)
"""Range of t, the swiss roll's angle and radius."""


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


def _noisy(curve: Tensor, noise: float, source: torch.Generator) -> Tensor:
    return curve + noise * normal(curve, source)


def _curve(name: str, config: DrawnConfig, words: str, draw: Callable[[int, torch.Generator], Tensor]) -> Data:
    return Data(name, draw_splits(name, config, lambda _, n, source: Split(values=draw(n, source).float())), Given(words))


def build_swiss_roll(config: SwissRollConfig, context: Context) -> Data:
    """The swiss roll, [2]; the words of a standardised one tell the numbers it was standardised with."""
    mean, scale = roll_moments(config.noise)
    words = f"standardised: minus ({mean[0]:.3f}, {mean[1]:.3f}), divided by ({scale[0]:.3f}, {scale[1]:.3f})"

    def draw(n: int, source: torch.Generator) -> Tensor:
        t = ROLL[0] + (ROLL[1] - ROLL[0]) * _uniform(n, source)
        points = _noisy(_polar(t, t), config.noise, source)
        return (points - mean) / scale if config.standardise else points

    return _curve("swiss-roll", config, words if config.standardise else "as it is", draw)


def build_spiral(config: SpiralConfig, context: Context) -> Data:
    """The spiral, [2], within the unit disc up to noise; points lie evenly along it away from the middle."""

    def draw(n: int, source: torch.Generator) -> Tensor:
        t = _uniform(n, source).sqrt()
        return _noisy(_polar(t, 2 * math.pi * config.turns * t), config.noise, source)

    return _curve("spiral", config, "as it is", draw)


def build_circle(config: CircleConfig, context: Context) -> Data:
    """The circle of radius 1, [2]."""

    def draw(n: int, source: torch.Generator) -> Tensor:
        angle = 2 * math.pi * _uniform(n, source)
        return _noisy(_polar(torch.ones_like(angle), angle), config.noise, source)

    return _curve("circle", config, "as it is", draw)


def build_grid(config: GridConfig, context: Context) -> Data:
    """The 3x3 grid of Gaussians, [2]; label 3 i + j is the Gaussian at (i - 1, j - 1)."""

    def draw(split: str, n: int, source: torch.Generator) -> Split:
        label = integers(0, 8, n, "cpu", source)
        centre = torch.stack([label // 3 - 1, label % 3 - 1], dim=1).double()
        return Split(values=_noisy(centre, config.noise, source).float(), labels=label)

    return Data("grid-3x3", draw_splits("grid-3x3", config, draw), Given("as it is"), 9 if config.labels else None)
