r"""Energies: :math:`p(s) = e^{-E(s)} / Z`, E in nats.

With hidden units, :math:`E(v) = -\log \sum_h e^{-E(v, h)}` is the free energy of the visible ones.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from chainkit_energy.capabilities import HiddenUnits


def wide(tensor: Tensor) -> Tensor:
    """The tensor in float32 if its type is narrower: autocast reaches networks, never energies."""
    return tensor if torch.finfo(tensor.dtype).bits >= 32 else tensor.float()


class Energy(nn.Module, ABC):
    """E(s), up to a constant; its parameters are what is learned."""

    @abstractmethod
    def forward(self, state: Tensor, condition: Any = None) -> Tensor:
        """E(s) of each row: [B], in nats, in float32 or wider.

        Arguments:
            state: s, [B, *event].
            condition: Class labels, a LongTensor [B], or None.
        """

    def gradient(self, state: Tensor, condition: Any = None) -> Tensor:
        """dE/ds, [B, *event], in nats per model unit; it can be trained through where gradients are on.

        Arguments:
            state: s, [B, *event]; no row's energy depends on another row.
            condition: As for ``forward``.
        """
        wanted = torch.is_grad_enabled()
        with torch.enable_grad():
            at = state if wanted and state.requires_grad else state.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self(at, condition).sum(), at, create_graph=wanted)
        return gradient


class Bipartite(Energy, HiddenUnits):
    r"""An energy with binary hidden units that see only the visible ones.

    .. math:: E(v, h) = E(v, 0) - \sum_j h_j a_j(v), \qquad
        \log \sum_h e^{-E(v, h) / T} = -E(v, 0) / T + \sum_j \log(1 + e^{a_j(v) / T})

    Labels are not used.
    """

    @abstractmethod
    def bare(self, visible: Tensor) -> Tensor:
        """E(v, 0), the energy with all hidden units off: [B], in nats.

        Arguments:
            visible: v, [B, *event].
        """

    @abstractmethod
    def log_hidden_marginal(self, hidden: Tensor) -> Tensor:
        """The logarithm of the sum (or integral) of exp(-E(v, h)) over all v: [B], in nats.

        Arguments:
            hidden: h, [B, H], zeros and ones.
        """

    @property
    @abstractmethod
    def hidden_units(self) -> int:
        """H, the number of hidden units."""

    def forward(self, state: Tensor, condition: Any = None) -> Tensor:
        """The free energy of the visible units: [B], in nats."""
        return self.bare(state) - softplus(self.hidden(state).logits).sum(1)
