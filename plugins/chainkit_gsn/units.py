r"""Noisy units, and the law of a state that has several parts.

.. math:: h = \tanh(a + n) + m, \qquad n, m \sim N(0, \sigma^2)

(Bengio et al. 2014). What comes out can be drawn with its gradient to the drive a, but has no
density in closed form: it is the law of tanh of a Gaussian, blurred.
"""

from __future__ import annotations

import torch
from torch import Tensor

from chainkit.distributions import Distribution, Gaussian, Reparametrised
from chainkit.random import Source, normal
from chainkit.states import State


class NoisyUnits(Reparametrised):
    """Hidden units with noise before and after their nonlinearity.

    Arguments:
        drive: a, [B, units].
        sigma: Standard deviation of both noises, 0 or more.
    """

    def __init__(self, drive: Tensor, sigma: float) -> None:
        self.drive = drive
        self.sigma = sigma

    def rsample(self, source: Source = None) -> Tensor:
        before, after = normal(self.drive, source), normal(self.drive, source)
        return torch.tanh(self.drive + self.sigma * before) + self.sigma * after

    def sample(self, source: Source = None) -> Tensor:
        return self.rsample(source).detach()


class Parts(Reparametrised):
    """Independent parts, as one state: a tuple.

    ``rsample`` keeps the gradient of those parts that have one; bits that are drawn pass none on, so
    that a gradient through them is left out, as in Bengio et al. 2014.

    Arguments:
        parts: The law of each.
    """

    def __init__(self, *parts: Distribution) -> None:
        self.parts = parts

    def sample(self, source: Source = None) -> State:
        return tuple(part.sample(source) for part in self.parts)

    def rsample(self, source: Source = None) -> State:
        return tuple(part.rsample(source) if isinstance(part, Reparametrised) else part.sample(source) for part in self.parts)


def noise(like: Tensor, units: int, sigma: float) -> Parts:
    """The two noises (n, m) of a layer of units, ahead of its evaluation.

    Arguments:
        like: A tensor with one row per state, of the right type and device.
        units: Number of units.
        sigma: Standard deviation, 0 or more.
    """
    still = at_rest(like, units, sigma)
    return Parts(still, still)


def at_rest(like: Tensor, units: int, sigma: float = 0.0) -> Gaussian:
    """N(0, sigma^2) for so many units; without sigma they are 0 for certain."""
    return Gaussian(like.new_zeros(len(like), units), like.new_full((), sigma**2))
