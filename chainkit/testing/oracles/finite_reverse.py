r"""The exact reverse of a diffusion of data at a few points.

.. math::
    q(s_{k-1} | s_k) = \sum_x q(x | s_k)\, q(s_{k-1} | s_k, x), \qquad q(x | s_k) \propto q(x)\, q(s_k | x)

and q(x | s_1) itself at k = 1. With the prior q(s_K) = sum_x q(x) q(s_K | x), log w is log q(x) on every
walk, for every K: the most that any chain can reach on this data, in expectation over it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from chainkit.capabilities import Density, Posteriors
from chainkit.chain import Chain
from chainkit.kernel import Kernel, UntemperedKernel
from chainkit.operator import TransitionOperator
from chainkit.prior import Prior
from chainkit.random import Source, uniform


class Mixture(Density):
    """A mixture of distributions, one for each of the points.

    Arguments:
        log_share: log q(x | s_k), [B, points], normalised.
        parts: The distribution of the next state for each point.
    """

    def __init__(self, log_share: Tensor, parts: list[Density]) -> None:
        self.log_share = log_share
        self.parts = parts

    def sample(self, source: Source = None) -> Tensor:
        which = (uniform(self.log_share[:, :1], source) > self.log_share.exp().cumsum(1)[:, :-1]).sum(1)
        drawn = torch.stack([part.sample(source) for part in self.parts])
        return drawn[which, torch.arange(len(which))]

    def log_prob(self, value: Tensor) -> Tensor:
        return torch.logsumexp(self.log_share + torch.stack([part.log_prob(value) for part in self.parts], 1), 1)


class Point(Density):
    """All mass at one point.

    Arguments:
        at: The point of each row, [B, *event].
    """

    def __init__(self, at: Tensor) -> None:
        self.at = at

    def sample(self, source: Source = None) -> Tensor:
        return self.at.clone()

    def log_prob(self, value: Tensor) -> Tensor:
        hit = (value == self.at).flatten(1).all(1)
        return torch.where(hit, 0.0, -torch.inf).to(value.dtype)


class FiniteReverse(TransitionOperator):
    """q(s_{k-1} | s_k) of data at a few points, all equally likely; nothing to be learned.

    Arguments:
        process: A diffusion, float64.
        steps: K.
        points: The data, [points, *event], float64, all different.
    """

    def __init__(self, process: Posteriors, steps: int, points: Tensor) -> None:
        super().__init__()
        self.process = process
        self.steps = steps
        self.points = points

    def forward(self, state: Tensor, k: int | Tensor, condition: Any = None) -> Kernel:
        """The kernel.

        Raises:
            TypeError: The step is a tensor.
        """
        if not isinstance(k, int):
            raise TypeError("the exact reverse is known for one step at a time")
        points = [point.expand_as(state) for point in self.points]
        arrived = torch.stack([self.process.marginal(point, k).log_prob(state) for point in points], 1)
        parts = [Point(point) if k == 1 else self.process.posterior(state, point, k) for point in points]
        return UntemperedKernel(Mixture(arrived.log_softmax(1), parts))

    def chain(self) -> Chain:
        """The chain of this operator and the prior q(s_K)."""
        return Chain(_Arrival(self), self, self.steps)

    def log_prob(self, chain: Chain, x: Tensor) -> Tensor:
        """log p(x) of the exact chain: minus the logarithm of the number of points, or minus infinity elsewhere: [B], in nats.

        Arguments:
            chain: A chain of this operator with the prior q(s_K).
            x: Data points, [B, *event].
        """
        return _uniform([Point(point.expand_as(x)) for point in self.points], x).log_prob(x)


class _Arrival(Prior):
    """q(s_K)."""

    def __init__(self, reverse: FiniteReverse) -> None:
        super().__init__()
        self.points, self.process, self.steps = reverse.points, reverse.process, reverse.steps

    def forward(self, rows: int) -> Mixture:
        points = [point.expand(rows, *point.shape) for point in self.points]
        return _uniform([self.process.marginal(point, self.steps) for point in points], points[0])


def _uniform(parts: list[Any], like: Tensor) -> Mixture:
    return Mixture(like.new_zeros(len(like), len(parts)).log_softmax(1), parts)
