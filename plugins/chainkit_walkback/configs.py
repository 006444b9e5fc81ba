"""What recipes may set on the components of this plugin."""

from __future__ import annotations

import math
from typing import Any, Literal

import attrs
from attrs import field

from chainkit.capabilities import NoiseLevel
from chainkit.component import NetworkPart, choose
from chainkit.config import above, at_least, between


@attrs.frozen(kw_only=True)
class HeatedConfig:
    """The walk away from data: the chain's own operator, heated (walkback paper, eq. 9). It has no settings."""


@attrs.frozen(kw_only=True)
class WalkbackConfig:
    """-log p(s_{k-1} | s_k) at every step, the walk held fixed (walkback paper, Algorithm 1). It has no settings.

    Its value is not the bound: watch the ``lower-bound`` estimator on held-out data.
    """


@attrs.frozen(kw_only=True)
class BoundConfig:
    """The bound of eq. 8 of the walkback paper with its full gradient.

    Gaussian operators are reparametrised; for Bernoulli ones the gradient is the score function's,
    unless the operator draws ``straight-through``.

    Arguments:
        walks: Walks per example, 1 or more.
        baseline: For the score function: subtract the mean over the other walks of the same
            ``example`` (2 walks or more), over all other walks of the ``batch``, or ``none``. All
            are unbiased.
    """

    walks: int = field(default=1, validator=at_least(1))
    baseline: Literal["batch", "example", "none"] = field(default="batch")

    @baseline.validator
    def _several_walks(self, attribute: Any, value: str) -> None:
        if value == "example" and self.walks < 2:
            raise ValueError("'example' needs walks = 2 or more")


@attrs.frozen(kw_only=True)
class BernoulliConfig:
    """sigmoid(((1 - alpha) s + alpha F(s)) / T), for states of zeros and ones (walkback paper, eq. 11).

    F starts at the rates of ones in the training data.

    Arguments:
        alpha: Weight of the network beside the state itself, in (0, 1].
        gradient: How an objective that trains through the walk, such as ``walkback-bound``, gets the
            gradient of a draw: by the ``score`` function, unbiased but of high variance, or
            ``straight-through`` the rate, biased but of low variance.
        network: F, with one head.
    """

    alpha: float = field(default=0.5, validator=[above(0), between(0, 1)])
    gradient: Literal["score", "straight-through"] = "score"
    network: NetworkPart = choose("mlp", hidden=[256])


@attrs.frozen(kw_only=True)
class GaussianConfig(NoiseLevel):
    """A Gaussian with the mean of eq. 12 of the walkback paper and a free scale, variance proportional to T.

    sigma^2 = T (sigma_min^2 + sigma0^2 softplus(F_sigma(s))^2). F_mu starts at the mean of the
    training data, F_sigma where softplus is 1. The noise level stated for choosing K is that of the
    start, sigma_min^2 + sigma0^2.

    Arguments:
        alpha: Weight of F_mu beside the state itself, in (0, 1].
        sigma0: Standard deviation at T = 1 before training, in model units, above 0.
        sigma_min: Smallest standard deviation at T = 1, in model units, 0 or more; it caps the
            density, which is otherwise unbounded on elements that are constant in the data.
        network: (F_mu, F_sigma), with two heads.
    """

    alpha: float = field(default=0.5, validator=[above(0), between(0, 1)])
    sigma0: float = field(default=0.1, validator=above(0))
    sigma_min: float = field(default=1e-3, validator=at_least(0))
    network: NetworkPart = choose("mlp", hidden=[256])

    @property
    def noise_variance(self) -> float:
        """sigma^2 at T = 1 where softplus(F_sigma) = 1, as before training, in squared model units."""
        return self.sigma_min**2 + self.sigma0**2


@attrs.frozen(kw_only=True)
class PrintedGaussianConfig:
    """A Gaussian as printed, sigma = sigmoid(T softplus(F_sigma(s))) (walkback paper, eqs. 12-13).

    sigma lies in [0.5, 1) at every temperature, too wide for data on [0, 1]; it is not proportional
    to the temperature, so that the chain length must be given.

    Arguments:
        alpha: Weight of F_mu beside the state itself, in (0, 1].
        network: (F_mu, F_sigma), with two heads.
    """

    alpha: float = field(default=0.5, validator=[above(0), between(0, 1)])
    network: NetworkPart = choose("mlp", hidden=[256])


@attrs.frozen(kw_only=True)
class GeometricConfig:
    """start * ratio^(k-1) at step k = 1..K.

    Arguments:
        start: Value at step 1, above 0. As a temperature: 1 is eq. 6 of the walkback paper, the last
            step onto the data being the model itself; ``start = ratio`` is eq. 14.
        ratio: Factor from step to step, above 0: 2 in Algorithm 1, the square root of 2 in appendix B.
    """

    start: float = field(default=1.0, validator=above(0))
    ratio: float = field(default=math.sqrt(2), validator=above(0))


@attrs.frozen(kw_only=True)
class ConstantConfig:
    """The same number at every step.

    Arguments:
        value: The number, 0 or more; above 0 as a temperature.
    """

    value: float = field(default=1.0, validator=at_least(0))
