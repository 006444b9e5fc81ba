"""A tiny operator that can do no more than has to be declared: its draws pass no gradient on."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from chainkit.capabilities import Factorial, HasMean
from chainkit.distributions import Gaussian
from chainkit.kernel import Kernel
from chainkit.random import Source
from chainkit.testing.tiny import TinyGaussian


class Plain(Factorial, HasMean):
    """A Gaussian without ``rsample``.

    Arguments:
        law: The Gaussian.
    """

    def __init__(self, law: Gaussian) -> None:
        self.law = law

    @property
    def mean(self) -> Tensor:
        return self.law.mean

    def sample(self, source: Source = None) -> Tensor:
        return self.law.sample(source)

    def log_prob_elementwise(self, value: Tensor) -> Tensor:
        return self.law.log_prob_elementwise(value)

    def log_prob(self, value: Tensor) -> Tensor:
        return self.law.log_prob(value)


class PlainKernel(Kernel):
    """A kernel of plain distributions.

    Arguments:
        kernel: The kernel of the same ones with ``rsample``.
    """

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    def at(self, temperature: float | Tensor = 1.0) -> Plain:
        law = self.kernel.at(temperature)
        assert isinstance(law, Gaussian)
        return Plain(law)


class PlainOperator(TinyGaussian):
    """The tiny operator over real states, whose kernels are plain."""

    def forward(self, state: Tensor, k: int | Tensor, condition: Any = None) -> Kernel:
        return PlainKernel(super().forward(state, k, condition))
