"""What the parts of this plugin can do beyond the core's capabilities, as types that recipes are checked by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chainkit.capabilities import Distribution
    from chainkit.states import State


class Reconstructs(ABC):
    """Of an operator: it denoises, so that each of its states tells p(x | s_k).

    Its kernels are of the type :class:`~chainkit_gsn.kernel.DenoisingKernel`.
    """

    @abstractmethod
    def entry(self, origin: State) -> Distribution:
        """q(s_1 | x): how a walk enters the chain from a data point.

        Arguments:
            origin: x, [B, *event].
        """


class KeepsBits:
    """Of a corruption: what it makes of bits are bits, with a law that is known."""


class KeepsGaussians:
    """Of a corruption: what it makes of a Gaussian is a Gaussian."""


class WalksBack:
    """Of a process: it walks from data by the chain itself and tells p(x | s_k) at every step.

    Its transitions are of the type :class:`~chainkit_gsn.walk.WalkbackTransition`.
    """
