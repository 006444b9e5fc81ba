r"""Corruptions C(x~ | x): elementwise noise, and its law where that has a closed form.

.. math::
    \text{replacement:}\quad P(\tilde x_i = 1 | x_i) = (1 - a) x_i + a r, \qquad
    \text{Gaussian:}\quad \tilde x_i \sim N(x_i, \sigma^2)

(chapter 20.11.1 of Goodfellow, Bengio and Courville). Salt and pepper is r = 1/2, masking r = 0.
What comes out has a closed form also where x itself is random and factorial: a replaced Bernoulli
is a Bernoulli, a Gaussian with noise a Gaussian. Other pairs can only be drawn.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, TypeVar

import attrs
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from chainkit.distributions import Bernoulli, Distribution, Gaussian
from chainkit.kernel import divisor
from chainkit.random import Source, normal, uniform
from chainkit_gsn.capabilities import KeepsBits, KeepsGaussians

if TYPE_CHECKING:
    from chainkit.component import Context
    from chainkit_gsn.configs import GaussianNoiseConfig, MaskingConfig, SaltAndPepperConfig

CERTAIN = 1e4
"""The logit of a bit that is known: its mass elsewhere, e^-10000, is 0 in float64."""

Own = TypeVar("Own", bound="Corruption")


def known_bits(value: Tensor) -> Bernoulli:
    """The distribution of bits that are known to be ``value``, [B, *event] of zeros and ones."""
    return Bernoulli((2 * value - 1) * CERTAIN)


def known_reals(value: Tensor) -> Gaussian:
    """The distribution of real numbers that are known to be ``value``, [B, *event]; it is drawn from, and has no density."""
    return Gaussian(value, torch.zeros_like(value))


class Corruption(ABC):
    """C(x~ | x), independently for each element."""

    @abstractmethod
    def corrupt(self, clean: Tensor, source: Source = None) -> Tensor:
        """Draws x~ given x.

        Arguments:
            clean: x, [B, *event], in model units.
            source: Where the random numbers come from.
        """

    @abstractmethod
    def only(self: Own, rows: Tensor) -> Own:
        """The same corruption on some rows, none on the others.

        Arguments:
            rows: A BoolTensor [B].
        """

    def law(self, clean: Distribution) -> Distribution:
        r"""The law of x~ for a random x: :math:`\int p(x) C(\tilde x | x) dx`.

        Arguments:
            clean: p(x), one x per row.
        """
        return Corrupted(clean, self)


class Corrupted(Distribution):
    """What a corruption makes of draws, where that has no closed form.

    Arguments:
        clean: p(x).
        corruption: C(x~ | x).
    """

    def __init__(self, clean: Distribution, corruption: Corruption) -> None:
        self.clean = clean
        self.corruption = corruption

    def sample(self, source: Source = None) -> Tensor:
        return self.corruption.corrupt(self.clean.sample(source), source)


@attrs.frozen(eq=False)
class Replacement(Corruption, KeepsBits):
    """Each element is replaced, with probability a, by a bit that is 1 with probability r.

    Arguments:
        rate: a, in [0, 1), one number or one per row [B].
    """

    ONES: ClassVar[float]

    rate: float | Tensor

    def corrupt(self, clean: Tensor, source: Source = None) -> Tensor:
        drawn, rate = uniform(clean, source), divisor(self.rate, clean)
        return torch.where(drawn < rate, (drawn < rate * self.ONES).to(clean.dtype), clean)

    def only(self: Own, rows: Tensor) -> Own:
        return attrs.evolve(self, rate=self.rate * rows)  # type: ignore[attr-defined, misc]

    def law(self, clean: Distribution) -> Distribution:
        r"""A Bernoulli again, with odds ((1 - a) p + a r) / ((1 - a) (1 - p) + a (1 - r)), taken in logarithms."""
        if not isinstance(clean, Bernoulli):
            return super().law(clean)
        logits = clean.logits
        rate = torch.as_tensor(divisor(self.rate, logits), dtype=logits.dtype, device=logits.device)
        kept = torch.log1p(-rate)
        one = torch.logaddexp((rate * self.ONES).log(), kept + logsigmoid(logits))
        zero = torch.logaddexp((rate * (1 - self.ONES)).log(), kept + logsigmoid(-logits))
        return Bernoulli(one - zero)


class SaltAndPepper(Replacement):
    """Replaces elements by fair bits."""

    ONES = 0.5


class Masking(Replacement):
    """Replaces elements by 0."""

    ONES = 0.0


@attrs.frozen(eq=False)
class GaussianNoise(Corruption, KeepsGaussians):
    """Adds normal noise to real values.

    Arguments:
        sigma: Its standard deviation, 0 or more, in model units, one number or one per row [B].
    """

    sigma: float | Tensor

    def corrupt(self, clean: Tensor, source: Source = None) -> Tensor:
        return clean + divisor(self.sigma, clean) * normal(clean, source)

    def only(self, rows: Tensor) -> GaussianNoise:
        return attrs.evolve(self, sigma=self.sigma * rows)

    def law(self, clean: Distribution) -> Distribution:
        """A Gaussian again, the variances added."""
        if not isinstance(clean, Gaussian):
            return super().law(clean)
        return Gaussian(clean.mean, clean.variance + divisor(self.sigma, clean.mean) ** 2)


def build_salt_and_pepper(config: SaltAndPepperConfig, context: Context) -> SaltAndPepper:
    """The corruption ``salt-and-pepper``."""
    return SaltAndPepper(config.rate)


def build_masking(config: MaskingConfig, context: Context) -> Masking:
    """The corruption ``masking``."""
    return Masking(config.rate)


def build_gaussian_noise(config: GaussianNoiseConfig, context: Context) -> GaussianNoise:
    """The corruption ``gaussian-noise``."""
    return GaussianNoise(config.sigma)
