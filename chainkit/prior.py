"""The starting distribution p*(s_K) of a generative chain."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import nn

from chainkit.capabilities import Density


class Prior(nn.Module, ABC):
    """p*(s_K), the noise that a chain starts from."""

    @abstractmethod
    def forward(self, rows: int) -> Density:
        """The distribution over ``rows`` independent states [rows, *event].

        Arguments:
            rows: Number of states, at least 1.
        """
