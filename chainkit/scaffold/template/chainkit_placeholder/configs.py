"""The keys that recipes may set. The docstrings are the users' documentation."""

from __future__ import annotations

import attrs
from attrs import field

from chainkit.component import NetworkPart, choose
from chainkit.config import above, at_least, between, not_empty


@attrs.frozen(kw_only=True)
class OperatorConfig:
    """Logistic(mu, b sqrt(T)) for each element: heavier tails than a Gaussian of the same variance.

    Arguments:
        network: The network, with two heads: for the mean mu and for the scale b.
        floor: The smallest scale b, above 0, in model units.
    """

    network: NetworkPart = choose("mlp", hidden=[128, 128], norm="per-step")
    floor: float = field(default=0.005, validator=above(0))


@attrs.frozen(kw_only=True)
class NetworkConfig:
    """Residual blocks over flattened states, told the step and, where there are any, the class label.

    Arguments:
        width: Units of every layer, 1 or more.
        blocks: Number of residual blocks, 1 or more.
    """

    width: int = field(default=128, validator=at_least(1))
    blocks: int = field(default=2, validator=at_least(1))


@attrs.frozen(kw_only=True)
class ProcessConfig:
    """A walk from noise straight to the data point, every step its share of the way that is left.

    Arguments:
        noise: sigma, standard deviation of a step, above 0, in model units.
    """

    noise: float = field(default=0.3, validator=above(0))


@attrs.frozen(kw_only=True)
class ObjectiveConfig:
    """Every step is trained towards the next state of the walk and towards the data point.

    Arguments:
        weight: w, the share of the data point, in [0, 1]; 0 is the part of the bound that trains the operator.
    """

    weight: float = field(default=0.2, validator=between(0, 1))


@attrs.frozen(kw_only=True)
class ScheduleConfig:
    """Half a cosine from one value to another: slow at both ends, quick between them.

    Arguments:
        start: The value at step 1.
        end: The value at step K.
    """

    start: float = 1.0
    end: float = 1.5


@attrs.frozen(kw_only=True)
class PriorConfig:
    """Student's t for each element, with mean and variance of the data and heavier tails than a Gaussian.

    Arguments:
        freedom: Degrees of freedom, 3 or more; the more, the lighter the tails.
    """

    freedom: int = field(default=5, validator=at_least(3))


@attrs.frozen(kw_only=True)
class DatasetConfig:
    """scikit-learn's handwritten digits of some classes, 8x8, with uniform noise of one grey level's width, in [0, 1].

    Arguments:
        digits: The classes, each in 0..9, at least one.
        seed: Seed of the split: a tenth each for validation and testing.
    """

    digits: list[int] = field(factory=lambda: list(range(10)), validator=[not_empty, between(0, 9)])
    seed: int = field(default=0, validator=at_least(0))


@attrs.frozen(kw_only=True)
class EstimatorConfig:
    """What importance sampling gains over the lower bound: near 0 where the process walks as the model would.

    Arguments:
        walks: Walks from each example, 2 or more.
    """

    walks: int = field(default=20, validator=at_least(2))


@attrs.frozen(kw_only=True)
class OptimizerConfig:
    """Steps of one size along the sign of a momentum (Chen et al. 2023, Lion).

    Arguments:
        lr: Size of a step, above 0; about a tenth of what suits Adam.
        blend: Share of the momentum in the direction, in [0, 1].
        memory: Share of the momentum that is kept, in [0, 1].
    """

    lr: float = field(default=3e-4, validator=above(0))
    blend: float = field(default=0.9, validator=between(0, 1))
    memory: float = field(default=0.99, validator=between(0, 1))


@attrs.frozen(kw_only=True)
class DecayConfig:
    """The learning rate rises, holds, and falls to 0, each along a line.

    Arguments:
        rise: Share of all updates in which it rises, in [0, 1].
        fall: Share of all updates in which it falls, in [0, 1].
    """

    rise: float = field(default=0.05, validator=between(0, 1))
    fall: float = field(default=0.5, validator=between(0, 1))


@attrs.frozen(kw_only=True)
class ObserverConfig:
    """Says how far the weights moved, compared with their size.

    Arguments:
        every: Epochs between two lines, 1 or more.
    """

    every: int = field(default=5, validator=at_least(1))
