"""What recipes may set on the components of this plugin."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import attrs
from attrs import field

from chainkit.capabilities import NoiseLevel
from chainkit.component import NetworkPart, Part, choose
from chainkit.config import above, at_least, between
from chainkit_energy.capabilities import HiddenUnits

EnergyPart: TypeAlias = Annotated[Part, "energy"]


@attrs.frozen(kw_only=True)
class RBMConfig:
    """A restricted Boltzmann machine of bits: E(v, h) = -b'v - c'h - h'Wv.

    Weights start small, b at the rates of ones in the training data. Labels are not used.

    Arguments:
        hidden: Hidden units, 1 or more.
    """

    hidden: int = field(default=100, validator=at_least(1))


@attrs.frozen(kw_only=True)
class GaussianRBMConfig:
    """A restricted Boltzmann machine with Gaussian visible units: v given h is N(b + W'h, sigma^2).

    Weights start small, b at the mean of the training data; sigma^2 is learned for each element.
    Labels are not used.

    Arguments:
        hidden: Hidden units, 1 or more.
        share: First value of sigma^2 as a share of the variance of the training data, above 0.
        floor: Added to that variance, above 0, in squared model units, for elements that never vary.
    """

    hidden: int = field(default=100, validator=at_least(1))
    share: float = field(default=1.0, validator=above(0))
    floor: float = field(default=1e-3, validator=above(0))


@attrs.frozen(kw_only=True)
class TiltedConfig:
    """The prior, tilted by any network: E(s) = -log p*(s) - f(s), f the sum of the network's output.

    Arguments:
        network: Gives f, with one head.
    """

    network: NetworkPart = choose("mlp", hidden=[256], activation="tanh")


@attrs.frozen(kw_only=True)
class LangevinConfig(NoiseLevel):
    """A step down the energy's gradient, and noise: N(s - sigma^2 / 2 dE/ds, T sigma^2), not corrected.

    Small steps lead to exp(-E / T), with an error of order sigma^2. It has a density, so that
    walkback can train it.

    Arguments:
        energy: E, of real states.
        noise: sigma, the standard deviation of the noise at T = 1, in model units, above 0.
    """

    energy: EnergyPart = choose("tilted")
    noise: float = field(default=0.1, validator=above(0))

    @property
    def noise_variance(self) -> float:
        """sigma^2, in squared model units."""
        return self.noise**2


@attrs.frozen(kw_only=True)
class AdjustedLangevinConfig:
    """Langevin steps that are accepted or rejected, so that they lead to the energy's law exactly.

    Arguments:
        energy: E, of real states.
        noise: Standard deviation of the proposal at T = 1, in model units, above 0; too large a one
            is mostly rejected.
        reference: What heating leads to: the ``prior``, or a ``flat`` law, exp(-E / T).
    """

    energy: EnergyPart = choose("tilted")
    noise: float = field(default=0.1, validator=above(0))
    reference: Literal["prior", "flat"] = "prior"


@attrs.frozen(kw_only=True)
class HamiltonianConfig:
    """Hamiltonian Monte Carlo: trajectories that are accepted or rejected, so that they lead to the energy's law exactly.

    Arguments:
        energy: E, of real states.
        step: Length of a leapfrog step at T = 1, in model units, above 0.
        leapfrog: Leapfrog steps of a trajectory, 1 or more; each evaluates the energy once.
        reference: What heating leads to: the ``prior``, or a ``flat`` law, exp(-E / T).
    """

    energy: EnergyPart = choose("tilted")
    step: float = field(default=0.1, validator=above(0))
    leapfrog: int = field(default=10, validator=at_least(1))
    reference: Literal["prior", "flat"] = "prior"


@attrs.frozen(kw_only=True)
class GibbsConfig:
    """Gibbs sampling of bits, one site at a time, sites at random.

    Arguments:
        energy: E, of bits.
        visits: Sites visited in one transition, 1 or more, each at one evaluation of the energy;
            left out, as many as there are elements.
        reference: What heating leads to: the ``prior``, or a ``flat`` law, exp(-E / T).
    """

    energy: EnergyPart = choose("tilted")
    visits: int | None = field(default=None, validator=at_least(1))
    reference: Literal["prior", "flat"] = "prior"


@attrs.frozen(kw_only=True)
class BlockGibbsConfig:
    """Gibbs sampling of an energy with hidden units: all hidden ones, then all visible ones.

    Arguments:
        energy: E(v, h), such as ``rbm`` or ``rbm-gaussian``.
        sweeps: How often in one transition, 1 or more.
        reference: What heating leads to: the ``prior``, or a ``flat`` law, exp(-E / T).
    """

    energy: EnergyPart = field()
    sweeps: int = field(default=1, validator=at_least(1))
    reference: Literal["prior", "flat"] = "prior"

    @energy.validator
    def _hidden_units(self, attribute: Any, value: Part) -> None:
        provided = value.component.provided(value.config)
        if provided is not None and not any(issubclass(given, HiddenUnits) for given in provided):
            raise ValueError(f"must be an energy with hidden units, which {value.name!r} has not")


@attrs.frozen(kw_only=True)
class ContrastiveConfig:
    """Contrastive divergence, CD-k: the energy of data less that of states k transitions away from it.

    Its value is no likelihood: watch ``ais``, or ``enumerated`` for small models.

    Arguments:
        steps: k, 1 or more; the gradient tends to that of the likelihood as it grows.
    """

    steps: int = field(default=1, validator=at_least(1))


@attrs.frozen(kw_only=True)
class PersistentConfig:
    """Persistent contrastive divergence: the energy of data less that of chains that go on from update to update.

    The chains start from the prior, and are saved with the run. Its value is no likelihood: watch
    ``ais``, or ``enumerated`` for small models.

    Arguments:
        chains: How many, 1 or more.
        steps: Transitions for one update, 1 or more.
        restart: Probability that a chain starts anew from the prior before an update, in [0, 1].
    """

    chains: int = field(default=100, validator=at_least(1))
    steps: int = field(default=1, validator=at_least(1))
    restart: float = field(default=0.0, validator=between(0, 1))


@attrs.frozen(kw_only=True)
class AnnealedConfig:
    """1 / T_k = ((K - k + 1) / K)^power: from the prior to the energy in K temperatures.

    Arguments:
        power: Above 0; 1 spaces the inverse temperatures evenly, a smaller one puts more of them
            close to 1.
    """

    power: float = field(default=1.0, validator=above(0))


@attrs.frozen(kw_only=True)
class AISConfig:
    """log p(x) of an energy, its partition function by annealed importance sampling: optimistic in expectation.

    Arguments:
        steps: Temperatures between the prior and the energy, 1 or more; left out, the chain's K.
        chains: Annealed chains, 2 or more.
        max_rows: How many examples are held in memory at once, 1 or more.
    """

    steps: int | None = field(default=None, validator=at_least(1))
    chains: int = field(default=100, validator=at_least(2))
    max_rows: int = field(default=4000, validator=at_least(1))


@attrs.frozen(kw_only=True)
class RAISEConfig:
    """log p(x) of an annealed chain, by reverse annealed importance sampling: conservative in expectation.

    Arguments:
        steps: Temperatures between the prior and the energy, 1 or more; left out, the chain's K.
        walks: Walks from each example, 1 or more.
        max_rows: About how many walks are held in memory at once, 1 or more.
    """

    steps: int | None = field(default=None, validator=at_least(1))
    walks: int = field(default=10, validator=at_least(1))
    max_rows: int = field(default=4000, validator=at_least(1))


@attrs.frozen(kw_only=True)
class BidirectionalConfig:
    """How tight the bounds of annealing are: a lower and an upper one, on data simulated from the annealed chain.

    Arguments:
        steps: Temperatures between the prior and the energy, 1 or more; left out, the chain's K.
        walks: Walks from each simulated data point, 1 or more.
        max_rows: About how many walks are held in memory at once, 1 or more.
    """

    steps: int | None = field(default=None, validator=at_least(1))
    walks: int = field(default=10, validator=at_least(1))
    max_rows: int = field(default=4000, validator=at_least(1))


@attrs.frozen(kw_only=True)
class EnumeratedConfig:
    """log p(x) of an energy, exactly: at most 20 hidden units, or 20 bits, are summed over.

    Arguments:
        max_rows: How many examples or settings are held in memory at once, 1 or more.
    """

    max_rows: int = field(default=4000, validator=at_least(1))
