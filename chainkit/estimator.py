"""Estimators: how a chain becomes a number that can be published."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from chainkit.curve import Curve

if TYPE_CHECKING:
    from chainkit.chain import Chain
    from chainkit.data import Examples
    from chainkit.process import ForwardProcess


@attrs.frozen(kw_only=True, repr=False)
class Estimate:
    """A number with all that is needed to publish it.

    Arguments:
        name: The estimator, "importance sampling" for instance.
        value: Mean over the examples, in ``unit`` per example.
        meaning: What the number is: "lower bound on log p(x)", "log p(x) of a factorial model", ...
        unit: "nats" for log-likelihoods.
        error_examples: Standard error of the mean over examples; None where there is none.
        error_walks: Standard error from the finite number of walks; None where there is none.
        examples: Number of examples.
        walks: Walks per example; 0 where nothing is walked.
        effective: Effective sample size over the walks, mean over the examples; None if not weighted.
        effective_min: The smallest of them.
        split: The split that the examples are from.
        preparation: How the data was prepared.
        dim: Elements of one example.
        bin_width: Width of a quantisation bin in model units; None: no bits per dimension.
        seed: Seed of the choice of examples and of all draws.
        baseline: The same figure of the factorial model fitted to the training data, on the same
            examples; None where it does not apply.
        beside: Figures of the same kind about something else, by what they are about.
        likelihood: Whether the number is on the scale of log p(x), where higher is better.
        lower_is_better: Whether a lower value is better, as of a distance; no likelihood then.
        details: More numbers, by name.
        curves: How figures depend on something: on the number of walks, on the step, ...
        warnings: What a reader should know before using the number.
    """

    name: str
    value: float
    meaning: str
    unit: str = "nats"
    error_examples: float | None = None
    error_walks: float | None = None
    examples: int
    walks: int = 0
    effective: float | None = None
    effective_min: float | None = None
    split: str
    preparation: str
    dim: int
    bin_width: float | None = None
    seed: int = 0
    baseline: float | None = None
    beside: Mapping[str, float] = attrs.field(factory=dict)
    likelihood: bool = True
    lower_is_better: bool = False
    details: Mapping[str, Any] = attrs.field(factory=dict)
    curves: tuple[Curve, ...] = ()
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        error = "" if self.error is None else f" ± {self.error:.2g}"
        return f"<Estimate {self.name}: {self.value:.5g}{error} {self.unit}, {self.examples} {self.split} examples>"

    @property
    def error(self) -> float | None:
        """Both standard errors together, the square root of the sum of their squares."""
        errors = [error for error in (self.error_examples, self.error_walks) if error is not None]
        return math.hypot(*errors) if errors else None

    @property
    def directed(self) -> bool:
        """Whether it is known which of two values is better."""
        return self.likelihood or self.lower_is_better

    @property
    def merit(self) -> float:
        """The value, or its negative where lower is better: of two estimates the one of higher merit is better."""
        return -self.value if self.lower_is_better else self.value

    @property
    def bits_per_dim(self) -> float | None:
        r"""``-nats / (dim ln 2) + log2(1 / w)``, lower is better; None for data that was not dequantised."""
        if not self.likelihood or self.bin_width is None:
            return None
        return -self.value / (self.dim * math.log(2)) - math.log2(self.bin_width)


class Estimator(ABC):
    """Estimates something about a chain from examples."""

    def check(self, chain: Chain, examples: Examples) -> None:  # noqa: B027 - most ask for nothing
        """Says, before a model is trained or anything estimated, what would keep the estimate from being made.

        Arguments:
            chain: The generative chain, whatever its weights.
            examples: What is to be estimated on; ``examples.data`` is the dataset.

        Raises:
            ValueError: The chain does not allow what is asked for, such as a number of sampling steps.
            DataError: The data lacks what is needed, such as labels, or there are too few examples.
        """

    @abstractmethod
    def estimate(self, chain: Chain, process: ForwardProcess, examples: Examples) -> Estimate:
        """Estimates, in evaluation mode and without changing the chain.

        Arguments:
            chain: The generative chain; its normalisation statistics are final.
            process: The forward process.
            examples: The data points, with their seed and device; ``examples.data`` is the dataset.
        """
