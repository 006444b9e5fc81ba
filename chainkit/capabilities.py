"""What parts can do, as types.

A recipe is checked before anything is built, and without importing torch: each
:class:`~chainkit.component.Component` lists the types below that it provides and those that it
needs of the others. The same types are the abstract base classes of the objects themselves, so
that research code, which has no recipe, is checked by ``isinstance`` at the place of use.

**Of the distributions that a kernel gives** (:mod:`chainkit.distributions`): one distribution
holds ``B`` independent rows, a state ``s`` of shape ``[B, *event]``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from chainkit.random import Source
    from chainkit.states import State
    from chainkit.transition import Transition


class Distribution(ABC):
    """A distribution over one state per row; all that is asked of every one is that it can be drawn from."""

    @abstractmethod
    def sample(self, source: Source = None) -> State:
        """Draws one state per row.

        Arguments:
            source: Where the random numbers come from (:mod:`chainkit.random`).

        Returns:
            A state [B, *event], always detached from the graph.
        """


class Weighable(Distribution):
    """A distribution whose share of log w is known: it has a density, or is reversible for a known target."""


class Density(Weighable):
    """A distribution with a tractable log density."""

    @abstractmethod
    def log_prob(self, value: State) -> Tensor:
        """The log density (or log mass) of one state per row: [B], in nats."""


class Reparametrised(Distribution):
    """A distribution whose draws are a differentiable function of its parameters."""

    @abstractmethod
    def rsample(self, source: Source = None) -> State:
        """Draws one state per row, with the gradient of the draw kept."""


class Factorial(Density):
    """A density that is a product over the elements of the state."""

    @abstractmethod
    def log_prob_elementwise(self, value: Tensor) -> Tensor:
        """The log density of each element, of the shape of ``value``, in nats; ``log_prob`` is its sum."""


class Mixable(Factorial):
    """A product over the elements, of a family whose members can lend each other elements."""

    @abstractmethod
    def mixed(self, other: Factorial, rate: float, source: Source = None) -> Factorial | None:
        """The distribution with elements taken from another, each drawn with a probability of its own.

        Arguments:
            other: The other distribution.
            rate: The probability, in [0, 1].
            source: Where the random numbers come from.

        Returns:
            None where ``other`` is of another family.
        """


class HasMean(Distribution):
    """A distribution whose mean is known."""

    @property
    @abstractmethod
    def mean(self) -> Tensor:
        """The mean, [B, *event]."""


class Reversible(Weighable):
    r"""A transition that satisfies detailed balance with a known, unnormalised target.

    ``R(s' | s) pi(s) = R(s | s') pi(s')``: Metropolis, Hamiltonian and Gibbs transitions need no
    tractable density of their own, since ``log R(s | s') - log R(s' | s) = log pi(s) - log pi(s')``.
    """

    @abstractmethod
    def log_target(self, value: State) -> Tensor:
        """log pi(value) up to a constant that is the same for all states: [B], in nats."""


class Marginals(ABC):
    """Of a process: s_k can be drawn from x at once."""

    @abstractmethod
    def marginal(self, origin: State, k: int | Tensor) -> Density:
        """q(s_k | x) for k in 1..K, an int or a LongTensor [B]."""


class Posteriors(Marginals):
    """Of a process: the step back is known once x is known."""

    @abstractmethod
    def posterior(self, state: State, origin: State, k: int | Tensor) -> Density:
        """q(s_{k-1} | s_k, x) for k in 2..K, an int or a LongTensor [B]."""


class RandomAccess(ABC):
    """Of a process: any step of a walk can be visited alone."""

    @abstractmethod
    def visit(self, chain: Any, batch: Any, k: int | Tensor, *, source: Source = None, with_log_ratio: bool = False) -> Transition:
        """One step of a fresh walk, the arguments as those of ``ForwardProcess.walk``.

        Arguments:
            chain: The generative chain.
            batch: The examples, one walk each.
            k: The step, an int or a LongTensor [B], one per example, each in 1..K.
            source: Where the random numbers come from.
            with_log_ratio: Whether ``log_ratio`` is wanted.
        """


class Respaceable(ABC):
    """Of an operator: it can run on a subset of the steps that it was trained on."""

    @abstractmethod
    def respaced(self, steps: list[int]) -> Any:
        """An operator of ``len(steps)`` steps whose step j starts at the trained step ``steps[j - 1]``.

        Arguments:
            steps: Increasing trained step indices, the last one K.
        """


class LastStepApart:
    """Of an operator: its step 1 is of another kind than the others, such as one without the noise of theirs, and is taken exactly once."""


class NoiseLevel(ABC):
    """Of an operator's config: the noise that one step injects at temperature 1 is stated.

    With it the chain length may be left out of a recipe (walkback paper, eqs. 4-5).
    """

    @property
    @abstractmethod
    def noise_variance(self) -> float:
        """sigma^2, the variance of the noise injected at temperature 1, in squared model units."""


class WholeBatch:
    """Of any part of a model: it must see all rows of a batch at once, so that several processes cannot share them out.

    Parts treat the rows of a batch as independent, or sum over all of them by :func:`chainkit.distributed.current`,
    unless they state this.
    """


class Divisible:
    """Of an estimator: its work lies in pieces that it hands to the journal of its examples.

    All processes then take part: each runs the estimator, works out some of the pieces and gets
    the others. Any other estimator is run by one process alone.
    """


class RealStates:
    """States are real vectors with a density."""


class BinaryStates:
    """States are vectors of zeros and ones with a mass."""


class ImageStates:
    """States are images [channels, rows, columns]."""


class Labelled:
    """Every example comes with an integer class label."""


class KnownLaw:
    """Of a dataset: the law that its examples are drawn from is known, as ``Data.log_density``."""
