"""Where the loops written by hand take their random numbers from.

:class:`Draws` is what a user would write. A test gives a loop :class:`Sourced` instead, which makes
the same draws from the same generator as chainkit does, so that losses can be compared to the last digit.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Normal

from chainkit.random import chance, normal, uniform


class Draws:
    """Draws of torch's own, from its global generator."""

    def normal(self, distribution: Normal) -> Tensor:
        """A draw of a Gaussian."""
        return distribution.sample()

    def bits(self, distribution: Bernoulli) -> Tensor:
        """A draw of independent bits."""
        return distribution.sample()

    def mask(self, rate: float, like: Tensor) -> Tensor:
        """Zeros and ones, ones at a rate."""
        return torch.bernoulli(torch.full_like(like, rate))


class Sourced(Draws):
    """The draws of chainkit: an element chosen by a mask is drawn once, from whichever of two Gaussians it is.

    Arguments:
        source: The generator; a test puts a new one here before every update.
    """

    def __init__(self, source: torch.Generator | None = None) -> None:
        self.source = source
        self.noise: Tensor | None = None

    def normal(self, distribution: Normal) -> Tensor:
        if self.noise is None:
            self.noise = normal(distribution.loc, self.source)
        return self.noise * distribution.scale + distribution.loc

    def bits(self, distribution: Bernoulli) -> Tensor:
        return (uniform(distribution.probs, self.source) < distribution.probs).to(distribution.probs.dtype)

    def mask(self, rate: float, like: Tensor) -> Tensor:
        """As it is; the draws of Gaussians that follow, up to the next mask, have their noise in common."""
        self.noise = None
        return chance(like, rate, self.source).to(like.dtype) if rate else torch.zeros_like(like)
