r"""log p(x) of a chain, by summing over every state.

.. math:: p(s_{k-1}) = \sum_{s_k} p(s_k)\, p_{T_k}(s_{k-1} | s_k), \qquad p(s_K) = p^*(s_K)

One product of a vector and a transfer matrix per step, in logarithms, for any operator whose kernels
have a density and for any K. Real states on a line take the place of bits with the trapezoidal rule,
which for smooth kernels is exact to rounding once its spacing is below their standard deviations.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from chainkit.capabilities import Density
from chainkit.chain import Chain

MOST_BITS = 12


class Enumerated:
    """All states there are, each with what it counts for in a sum.

    Arguments:
        states: Every state, [N, *event], float64.
        log_measure: Logarithm of the length that each state stands for, [N]; None for states that are points.
    """

    def __init__(self, states: Tensor, log_measure: Tensor | None = None) -> None:
        self.states = states
        self.log_measure = states.new_zeros(len(states)) if log_measure is None else log_measure

    @classmethod
    def bits(cls, shape: Sequence[int]) -> Enumerated:
        """All states of some bits.

        Arguments:
            shape: Shape of one state, of 12 elements at most.

        Raises:
            ValueError: There are more.
        """
        size = math.prod(shape)
        if size > MOST_BITS:
            raise ValueError(f"at most {MOST_BITS} bits are enumerated, not {size}")
        states = torch.tensor(list(itertools.product([0.0, 1.0], repeat=size)), dtype=torch.float64)
        return cls(states.view(-1, *shape))

    @classmethod
    def line(cls, low: float, high: float, points: int) -> Enumerated:
        """Evenly spaced states [1] on an interval beyond which there is nothing.

        Arguments:
            low: The first one, in model units.
            high: The last one.
            points: How many, 2 or more.
        """
        spacing = (high - low) / (points - 1)
        states = torch.linspace(low, high, points, dtype=torch.float64)[:, None]
        return cls(states, torch.full((points,), math.log(spacing), dtype=torch.float64))

    def log_matrix(self, chain: Chain, k: int) -> Tensor:
        """log p_{T_k}(s_{k-1} | s_k), a row for each s_k and a column for each s_{k-1}: [N, N], with gradient.

        Arguments:
            chain: The chain, float64.
            k: The step, 1..K.

        Raises:
            TypeError: The kernel has no density.
        """
        kernel = chain.operator(self.states, k).at(chain.temperatures()[k - 1])
        return self._columns(kernel)

    def log_law(self, chain: Chain) -> Tensor:
        """log p(s_0) of every state, [N], with gradient.

        Arguments:
            chain: The chain, float64.

        Raises:
            TypeError: A kernel has no density.
        """
        law = chain.prior(len(self.states)).log_prob(self.states)
        for k in range(chain.steps, 0, -1):
            law = self._pushed(law, self.log_matrix(chain, k))
        return law

    def log_prob(self, chain: Chain, x: Tensor) -> Tensor:
        """log p(x), exactly: [B], in nats, with gradient.

        Arguments:
            chain: The chain, float64.
            x: Data points, [B, *event]; on a line they need not be among its states.

        Raises:
            TypeError: A kernel has no density.
        """
        law = chain.prior(len(self.states)).log_prob(self.states)
        for k in range(chain.steps, 1, -1):
            law = self._pushed(law, self.log_matrix(chain, k))
        last = chain.operator(self.states, 1).at(chain.temperatures()[0])
        return self._pushed(law, self._columns(last, x))

    def _columns(self, kernel: object, values: Tensor | None = None) -> Tensor:
        if not isinstance(kernel, Density):
            raise TypeError(f"only kernels with a density can be enumerated, not {type(kernel).__name__}")
        targets = self.states if values is None else values
        return torch.stack([kernel.log_prob(value.expand_as(self.states)) for value in targets], 1)

    def _pushed(self, law: Tensor, matrix: Tensor) -> Tensor:
        return torch.logsumexp((law + self.log_measure)[:, None] + matrix, 0)
