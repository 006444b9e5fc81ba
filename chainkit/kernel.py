"""A kernel is what an operator says about the next state before a temperature is chosen.

One network evaluation at s_k gives one kernel, and the kernel serves as often as it is needed: in
Variational Walkback for log p(s_{k-1} | s_k) at T_k and for drawing s_{k+1} at T_{k+1}. Taking a
kernel at a temperature is elementwise arithmetic and evaluates no network.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from chainkit.capabilities import Distribution
from chainkit.distributions import Bernoulli, Gaussian, StraightThrough
from chainkit.states import per_row


def divisor(temperature: float | Tensor, like: Tensor) -> float | Tensor:
    """A temperature, or one per row, ready to multiply or divide ``like``, [B, *event]."""
    return per_row(temperature, like) if isinstance(temperature, Tensor) and temperature.dim() else temperature


class Kernel(ABC):
    """p(. | state) with its temperature still open."""

    @abstractmethod
    def at(self, temperature: float | Tensor = 1.0) -> Distribution:
        """The distribution of the next state at a temperature.

        Arguments:
            temperature: T > 0, one number or one per row [B]; 1 is the model itself.
        """


class GaussianKernel(Kernel):
    """N(mu, T v): a step injects noise of variance T sigma^2 (walkback paper, Algorithm 1).

    Arguments:
        mean: mu, [B, *event].
        variance: v > 0 at temperature 1, broadcastable to ``mean``.
    """

    def __init__(self, mean: Tensor, variance: Tensor) -> None:
        self.mean = mean
        self.variance = variance

    def at(self, temperature: float | Tensor = 1.0) -> Gaussian:
        tempered = not isinstance(temperature, float) or temperature != 1.0
        return Gaussian(self.mean, self.variance * divisor(temperature, self.mean) if tempered else self.variance)


class BernoulliKernel(Kernel):
    """Bernoulli(sigmoid(l / T)) (walkback paper, eq. 11).

    Arguments:
        logits: l at temperature 1, [B, *event].
        straight_through: Whether draws pass a gradient on
            (:class:`~chainkit.distributions.StraightThrough`).
    """

    def __init__(self, logits: Tensor, straight_through: bool = False) -> None:
        self.logits = logits
        self.distribution = StraightThrough if straight_through else Bernoulli

    def at(self, temperature: float | Tensor = 1.0) -> Bernoulli:
        return self.distribution(self.logits / divisor(temperature, self.logits))


class UntemperedKernel(Kernel):
    """A distribution that knows no temperature.

    Arguments:
        distribution: The distribution of the next state.
    """

    def __init__(self, distribution: Distribution) -> None:
        self.distribution = distribution

    def at(self, temperature: float | Tensor = 1.0) -> Distribution:
        """The distribution.

        Raises:
            ValueError: A temperature other than 1.
        """
        if not isinstance(temperature, (int, float)) or temperature != 1:
            raise ValueError(f"this kernel has no temperature other than 1, got {temperature}")
        return self.distribution
