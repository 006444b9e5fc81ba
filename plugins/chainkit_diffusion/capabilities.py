"""What the parts of a fixed diffusion can do, beside the capabilities of the core. Imports no torch."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from chainkit.capabilities import Distribution

if TYPE_CHECKING:
    from torch import Tensor


class GaussianSteps:
    """Of a process: its steps are those of a Gaussian diffusion, ``q(s_k | s_{k-1}) = N(sqrt(1 - b_k) s_{k-1}, b_k I)``."""


class BinomialSteps:
    """Of a process: its steps are those of a binomial diffusion, bits redrawn from a fixed rate with probability b_k."""


class PredictsNoise(Distribution):
    """A distribution of s_{k-1} that was made from a prediction of the noise in s_k (Ho et al. 2020, eq. 11)."""

    @property
    @abstractmethod
    def noise(self) -> Tensor:
        """The predicted standard normal noise of ``s_k = sqrt(a_k) x + sqrt(1 - a_k) noise``, [B, *event], with gradient."""
