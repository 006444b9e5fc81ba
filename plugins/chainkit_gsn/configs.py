"""What recipes may set on the components of this plugin."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import attrs
from attrs import field

from chainkit.component import DatasetPart, NetworkPart, Part, choose
from chainkit.config import above, at_least, below

CorruptionPart = Annotated[Part, "corruption"]


@attrs.frozen(kw_only=True)
class SaltAndPepperConfig:
    """Each element is replaced, with probability ``rate``, by a fair bit.

    Arguments:
        rate: Probability of being replaced, from 0 to below 1; every second replaced bit changes.
    """

    rate: float = field(default=0.4, validator=[at_least(0), below(1)])


@attrs.frozen(kw_only=True)
class MaskingConfig:
    """Each element is set to 0 with probability ``rate``.

    Arguments:
        rate: Probability of being set to 0, from 0 to below 1.
    """

    rate: float = field(default=0.4, validator=[at_least(0), below(1)])


@attrs.frozen(kw_only=True)
class GaussianNoiseConfig:
    """Normal noise is added to each element.

    Arguments:
        sigma: Its standard deviation, above 0, in model units.
    """

    sigma: float = field(default=0.3, validator=above(0))


@attrs.frozen(kw_only=True)
class DenoisingBernoulliConfig:
    """The chain of a denoising autoencoder over zeros and ones: Bernoulli(sigmoid(F(x~))), then corrupted again.

    F starts at the rates of ones in the training data. With chain.steps of 2 or more and
    chain.extend = "noise-end" it can be sampled for any number of steps.

    Arguments:
        corruption: C(x~ | x), of bits: ``salt-and-pepper`` or ``masking``.
        network: F, with one head.
    """

    corruption: CorruptionPart = choose("salt-and-pepper", rate=0.4)
    network: NetworkPart = choose("mlp", hidden=[256])


@attrs.frozen(kw_only=True)
class DenoisingGaussianConfig:
    """The chain of a denoising autoencoder over real values: N(F_mu(x~), sigma^2), then corrupted again.

    sigma = sigma_min + sigma0 softplus(F_sigma(x~)). F_mu starts at the mean of the training data,
    F_sigma where softplus is 1.

    Arguments:
        corruption: C(x~ | x); the chain has densities, and figures of log w, with ``gaussian-noise`` only.
        sigma0: Standard deviation before training, in model units, above 0.
        sigma_min: Smallest standard deviation, in model units, above 0.
        network: (F_mu, F_sigma), with two heads.
    """

    corruption: CorruptionPart = choose("gaussian-noise", sigma=0.3)
    sigma0: float = field(default=0.1, validator=above(0))
    sigma_min: float = field(default=1e-3, validator=above(0))
    network: NetworkPart = choose("mlp", hidden=[256])


@attrs.frozen(kw_only=True)
class GSNConfig:
    """A Generative Stochastic Network over zeros and ones, with tanh units and tied weights.

    Where the data conditions the chain, on labels or on real values, the lowest hidden layer is told.

    Arguments:
        hidden: Units of the hidden layers, from the lowest up.
        noise: Standard deviation of the noise before and after the nonlinearity, 0 or more, of each
            hidden layer; a single number is for all.
        corruption: C(x~ | x), of bits: ``salt-and-pepper`` or ``masking``.
    """

    hidden: list[int] = field(factory=lambda: [1500, 1500], validator=at_least(1))
    noise: list[float] = field(factory=lambda: [2.0], validator=at_least(0))
    corruption: CorruptionPart = choose("salt-and-pepper", rate=0.4)

    @noise.validator
    def _one_for_each(self, attribute: Any, value: list[float]) -> None:
        if len(value) not in (1, len(self.hidden)):
            raise ValueError(f"has {len(value)} numbers for {len(self.hidden)} hidden layers; give one for all, or one for each")


@attrs.frozen(kw_only=True)
class WalkbackProcessConfig:
    """The walk from data by the chain's own steps: corrupt, reconstruct, draw, corrupt again. It has no settings."""


@attrs.frozen(kw_only=True)
class ReconstructionConfig:
    """-log p(x | s_k) at the states of a walk from x by the chain itself (walkback training).

    It is no bound on log p(x); where the chain has densities, watch the ``lower-bound`` estimator,
    otherwise figures of samples.

    Arguments:
        steps: How many states of the walk are reconstructed from, 1 or more; 1 is the plain denoising
            criterion, left out it is the length of the chain.
        gradient: Whether every ``step`` of a walk is on its own, or the gradient passes along the
            ``walk`` through the hidden layers, as in Bengio et al. 2014; memory then grows with the steps.
    """

    steps: int | None = field(default=None, validator=at_least(1))
    gradient: Literal["step", "walk"] = "step"


@attrs.frozen(kw_only=True)
class OutputsConfig:
    """Data turned round: the labels of another dataset, as one of so many bits, conditioned on its examples.

    Arguments:
        inputs: The dataset, one with labels.
    """

    inputs: DatasetPart = choose("digits")


@attrs.frozen(kw_only=True)
class AccuracyConfig:
    """How often the most probable output of a conditional chain is the right one.

    Arguments:
        chains: Chains for each example, 1 or more; what their last states say is averaged.
        steps: Number of sampling steps; left out, the trained K.
        max_rows: About how many chains are held in memory at once, 1 or more.
    """

    chains: int = field(default=10, validator=at_least(1))
    steps: int | None = field(default=None, validator=at_least(1))
    max_rows: int = field(default=4000, validator=at_least(1))
