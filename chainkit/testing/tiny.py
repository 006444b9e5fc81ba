r"""A chain so small that p(x) is known exactly.

Every element of a state walks on its own. Real states, with T_k the temperature:

.. math:: p(s_{k-1} | s_k) = N(a_k s_k + c_k, T_k v_k), \qquad p^*(s_K) = N(0, 1)

and binary ones, :math:`p(s_{k-1} = 1 | s_k) = \mathrm{sigmoid}((a_k (2 s_k - 1) + c_k) / T_k)` with
:math:`p^* = 1/2`. The parameters a, c and v are learnable and differ from step to step.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from chainkit.batch import Batch
from chainkit.chain import Chain
from chainkit.data import SPLITS, Data, Split
from chainkit.distributions import Bernoulli, Gaussian
from chainkit.kernel import BernoulliKernel, GaussianKernel, Kernel
from chainkit.operator import TransitionOperator
from chainkit.preparation import Unprepared
from chainkit.prior import Prior
from chainkit.process import ForwardProcess
from chainkit.random import Source, integers, normal, seeded, uniform
from chainkit.schedule import Schedule
from chainkit.states import per_row
from chainkit.testing.expect import expect
from chainkit.transition import Transition, log_ratio

STEPS = 3
CLASSES = 3


class TinyPrior(Prior):
    """N(0, 1) for each element, or fair coins.

    Arguments:
        shape: Shape of one state.
        binary: Whether states are zeros and ones.
    """

    zero: Tensor

    def __init__(self, shape: Sequence[int] = (2,), *, binary: bool = False) -> None:
        super().__init__()
        self.binary = binary
        self.register_buffer("zero", torch.zeros(*shape))

    def forward(self, rows: int) -> Gaussian | Bernoulli:
        zeros = self.zero.expand(rows, *self.zero.shape)
        return Bernoulli(zeros) if self.binary else Gaussian(zeros, torch.ones_like(zeros))


class TinyOperator(TransitionOperator):
    """The operator of the module's formula.

    Arguments:
        steps: K, 1 or more.
        classes: Number of class labels that condition it, each with a shift of its own, 0 at first; None for none.
    """

    def __init__(self, steps: int = STEPS, classes: int | None = None) -> None:
        super().__init__()
        self.label = None if classes is None else nn.Parameter(torch.zeros(classes))
        position = torch.linspace(0, 1, steps)
        self.slope = nn.Parameter(0.6 + 0.2 * position)
        self.shift = nn.Parameter(0.2 - 0.1 * position)
        self.log_variance = nn.Parameter(-1.5 + 0.5 * position)

    def _at(self, parameter: Tensor, k: int | Tensor, state: Tensor) -> Tensor:
        return per_row(parameter[k - 1], state) if isinstance(k, Tensor) else parameter[k - 1]

    def _shift(self, k: int | Tensor, state: Tensor, condition: Any) -> Tensor:
        shift = self._at(self.shift, k, state)
        if self.label is None:
            return shift
        expect(condition is not None, "the tiny operator", "the labels that condition the chain", "none")
        return shift + per_row(self.label[condition], state)

    @abstractmethod
    def law(self, temperatures: Sequence[float]) -> tuple[float, float]:
        """Mean and variance of an element of x; the variance of a bit follows from its mean."""


class TinyGaussian(TinyOperator):
    """The tiny operator over real states."""

    def forward(self, state: Tensor, k: int | Tensor, condition: Any = None) -> Kernel:
        mean = self._at(self.slope, k, state) * state + self._shift(k, state, condition)
        return GaussianKernel(mean, self._at(self.log_variance, k, state).exp().expand_as(mean))

    def law(self, temperatures: Sequence[float]) -> tuple[float, float]:
        mean, variance = 0.0, 1.0
        slopes, shifts, variances = self.slope.tolist(), self.shift.tolist(), self.log_variance.exp().tolist()
        for slope, shift, own, temperature in reversed(list(zip(slopes, shifts, variances, temperatures, strict=True))):
            mean, variance = slope * mean + shift, slope**2 * variance + temperature * own
        return mean, variance


class TinyBernoulli(TinyOperator):
    """The tiny operator over binary states; it does not use v."""

    def __init__(self, steps: int = STEPS, classes: int | None = None) -> None:
        super().__init__(steps, classes)
        del self.log_variance

    def forward(self, state: Tensor, k: int | Tensor, condition: Any = None) -> Kernel:
        return BernoulliKernel(self._at(self.slope, k, state) * (2 * state - 1) + self._shift(k, state, condition))

    def law(self, temperatures: Sequence[float]) -> tuple[float, float]:
        rate = 0.5
        for slope, shift, temperature in reversed(list(zip(self.slope, self.shift, temperatures, strict=True))):
            up, down = (shift + slope) / temperature, (shift - slope) / temperature
            rate = float(rate * up.sigmoid() + (1 - rate) * down.sigmoid())
        return rate, rate * (1 - rate)


class TinyChain(Chain):
    """A tiny prior and a tiny operator.

    Arguments:
        shape: Shape of one state.
        binary: Whether states are zeros and ones.
        steps: K, 1 or more.
        temperature: Schedule of T_k, not learned; None is T_k = 1.
    """

    operator: TinyOperator

    def __init__(
        self, shape: Sequence[int] = (2,), *, binary: bool = False, steps: int = STEPS, temperature: Schedule | None = None
    ) -> None:
        operator = TinyBernoulli(steps) if binary else TinyGaussian(steps)
        super().__init__(TinyPrior(shape, binary=binary), operator, steps, temperature=temperature)
        self.binary = binary

    @torch.no_grad()
    def log_prob(self, value: Tensor) -> Tensor:
        """log p(x), exactly: [B], in nats.

        Arguments:
            value: x, [B, *event].
        """
        mean, variance = self.operator.law([float(temperature) for temperature in self.temperatures()])
        exact = torch.full_like(value, mean)
        law = Bernoulli(exact.logit()) if self.binary else Gaussian(exact, torch.full_like(value, variance))
        return law.log_prob(value)


class TinyProcess(ForwardProcess):
    """q(s_k | s_{k-1}): N(0.8 s_{k-1}, 0.36) for each element, or a flip with probability 0.2.

    Arguments:
        binary: Whether states are zeros and ones.
    """

    def __init__(self, *, binary: bool = False) -> None:
        super().__init__()
        self.binary = binary

    def kernel(self, previous: Tensor) -> Gaussian | Bernoulli:
        """q(s_k | s_{k-1})."""
        if self.binary:
            return Bernoulli((0.2 + 0.6 * previous).logit())
        return Gaussian(0.8 * previous, torch.full_like(previous, 0.36))

    def walk(
        self, chain: Chain, batch: Batch, *, source: Source = None, path_gradient: bool = False, with_log_ratio: bool = False
    ) -> Iterator[Transition]:
        """One walk for each example, k = 1..K; it has no gradient to keep."""
        previous, temperatures = batch.origin, chain.temperatures()
        for k in range(1, chain.steps + 1):
            forward = self.kernel(previous)
            state = forward.sample(source)
            reverse = chain.operator(state, k, batch.condition).at(temperatures[k - 1])
            share = log_ratio(reverse, previous, forward, state) if with_log_ratio else None
            if share is not None and k == chain.steps:
                share = share + chain.prior(batch.rows).log_prob(state)
            yield Transition(
                k=k,
                steps=chain.steps,
                state=state,
                previous=previous,
                origin=batch.origin,
                condition=batch.condition,
                reverse=reverse,
                log_ratio=share,
            )
            previous = state


def tiny_chain(shape: Sequence[int] = (2,), *, binary: bool = False, steps: int = STEPS) -> TinyChain:
    """A chain with an exact ``log_prob``.

    Arguments:
        shape: Shape of one state.
        binary: Whether states are zeros and ones.
        steps: K, 1 or more.
    """
    return TinyChain(shape, binary=binary, steps=steps)


def tiny_data(shape: Sequence[int] = (2,), *, binary: bool = False, conditional: bool = False) -> Data:
    """Data with 48 examples each for training, validation and testing, in three classes.

    Real values lie in (0, 1); those of one example are correlated, and depend on its class.

    Arguments:
        shape: Shape of one example.
        binary: Whether values are zeros and ones.
        conditional: Whether the class labels condition the chain.
    """
    source = seeded("cpu", 0, "tiny data")

    def split(n: int) -> Split:
        labels = integers(0, CLASSES - 1, n, "cpu", source)
        level = per_row(normal(torch.empty(n), source) + labels, torch.empty(n, *shape)) / 2
        values = (level + normal(torch.empty(n, *shape), source) / 2).sigmoid()
        if binary:
            values = (uniform(values, source) < values).float()
        return Split(values=values, labels=labels)

    classes, law = CLASSES if conditional else None, None if binary else tiny_log_density
    return Data("tiny", {name: split(48) for name in SPLITS}, Unprepared(binary), classes, law)


def tiny_log_density(values: Tensor, condition: Tensor | None = None) -> Tensor:
    r"""The log density of real :func:`tiny_data`, given its class where the class conditions the chain: float64 [B], in nats.

    .. math:: x = \mathrm{sigmoid}(y), \quad y \sim \tfrac13 \sum_{c=0}^{2} N\left(\tfrac c2 1, \tfrac14 (I + 1 1^\top)\right),
        \quad \log p(x) = \log p(y) - \sum_i \log x_i (1 - x_i)

    Arguments:
        values: x, [B, *shape], in (0, 1).
        condition: c, a LongTensor [B], or None.
    """
    x = values.double().flatten(1)
    covariance = (torch.eye(x.shape[1], dtype=x.dtype, device=x.device) + 1) / 4
    centres = torch.arange(CLASSES, dtype=x.dtype, device=x.device)[:, None].expand(-1, x.shape[1]) / 2
    each = MultivariateNormal(centres, covariance).log_prob(x.logit()[:, None])
    whole = each.logsumexp(1) - math.log(CLASSES) if condition is None else each.gather(1, condition[:, None])[:, 0]
    return whole - (x * (1 - x)).log().sum(1)
