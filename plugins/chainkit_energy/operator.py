r"""What all operators that come from an energy share: the law that they leave as it is.

.. math:: \log \pi_T(s) = -E(s) / T + (1 - 1/T) \log r(s)

r is the reference: the prior, so that heating ends there, or flat.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from chainkit.capabilities import Reversible
from chainkit.kernel import Kernel
from chainkit.operator import TransitionOperator
from chainkit.prior import Prior
from chainkit.random import Source
from chainkit_energy.capabilities import FromEnergy, Level
from chainkit_energy.energy import Energy


class EnergyOperator(TransitionOperator, FromEnergy):
    """An operator around an energy. It does not depend on the step: what changes along a chain is T.

    Arguments:
        energy: E.
        reference: r, with a density; None is flat.
    """

    def __init__(self, energy: Energy, reference: Prior | None = None) -> None:
        super().__init__()
        self.energy = energy
        self.reference = reference

    def level(self, state: Tensor, condition: Any = None) -> Level:
        energy = self.energy(state, condition)
        return self._towards_reference(state, lambda temperature: -energy / temperature)

    def _towards_reference(self, state: Tensor, own: Level) -> Level:
        if self.reference is None:
            return own
        other = self.reference(len(state)).log_prob(state)
        return lambda temperature: own(temperature) + (1 - 1 / temperature) * other


class ReversibleOperator(EnergyOperator):
    """An operator whose transitions satisfy detailed balance with pi_T but have no density of their own."""

    def forward(self, state: Tensor, k: int | Tensor, condition: Any = None) -> ReversibleKernel:
        return ReversibleKernel(self, state, condition)

    @abstractmethod
    def move(self, state: Tensor, temperature: float | Tensor, condition: Any, source: Source) -> Tensor:
        """One transition that satisfies detailed balance with pi_T, drawn without gradients.

        Arguments:
            state: s, [B, *event].
            temperature: T > 0, one number or one per row [B].
            condition: Class labels, a LongTensor [B], or None.
            source: Where the random numbers come from.
        """


class ReversibleKernel(Kernel):
    """The moves of a reversible operator from one state.

    Arguments:
        operator: What moves.
        state: s_k, [B, *event].
        condition: Class labels, a LongTensor [B], or None.
    """

    def __init__(self, operator: ReversibleOperator, state: Tensor, condition: Any) -> None:
        self.operator = operator
        self.state = state
        self.condition = condition

    def at(self, temperature: float | Tensor = 1.0) -> ReversibleMove:
        return ReversibleMove(self, temperature)


class ReversibleMove(Reversible):
    """The same at a temperature.

    Arguments:
        kernel: Where it moves from.
        temperature: T > 0, one number or one per row [B].
    """

    def __init__(self, kernel: ReversibleKernel, temperature: float | Tensor) -> None:
        self.kernel = kernel
        self.temperature = temperature

    @torch.no_grad()
    def sample(self, source: Source = None) -> Tensor:
        kernel = self.kernel
        return kernel.operator.move(kernel.state, self.temperature, kernel.condition, source)

    def log_target(self, value: Tensor) -> Tensor:
        return self.kernel.operator.log_target(value, self.temperature, self.kernel.condition)
