"""What the parts of this plugin can do beyond the core's capabilities, as types that recipes are checked by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor

    from chainkit.distributions import Bernoulli, Gaussian

Level: TypeAlias = "Callable[[float | Tensor], Tensor]"
"""log pi_T of one state per row as a function of T: [B], in nats, each up to a constant of T alone."""


class FromEnergy(ABC):
    """Of an operator: it comes from an energy, whose law at temperature T it leaves as it is."""

    @abstractmethod
    def level(self, state: Tensor, condition: Any = None) -> Level:
        """log pi_T(state) as a function of T; the energy is evaluated once, whatever temperatures follow.

        Arguments:
            state: s, [B, *event].
            condition: Class labels, a LongTensor [B], or None.
        """

    def log_target(self, state: Tensor, temperature: float | Tensor = 1.0, condition: Any = None) -> Tensor:
        """log pi_T(state) up to a constant: [B], in nats; at T = 1 it is -E(state).

        Arguments:
            state: s, [B, *event].
            temperature: T > 0, one number or one per row [B].
            condition: As for :meth:`level`.
        """
        return self.level(state, condition)(temperature)


class Summable:
    """Of an operator: the law that it leads to can be summed up exactly where it is small.

    States are bits, or there are hidden units to sum over.
    """


class HiddenUnits(ABC):
    """Of an energy E(v, h): hidden units are independent once v is known, and visible ones once h is."""

    @abstractmethod
    def hidden(self, visible: Tensor) -> Bernoulli:
        """p(h | v), bits [B, H].

        Arguments:
            visible: v, [B, *event].
        """

    @abstractmethod
    def visible(self, hidden: Tensor) -> Bernoulli | Gaussian:
        """p(v | h), [B, *event].

        Arguments:
            hidden: h, [B, H], zeros and ones.
        """
