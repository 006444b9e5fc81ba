"""The networks inside operators: what all of them can be asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn


class Network(nn.Module, ABC):
    """A network from a state to one or more maps of the state's shape, called heads."""

    @abstractmethod
    def forward(self, state: Tensor, k: int | Tensor, condition: Any = None) -> tuple[Tensor, ...]:
        """Evaluates the network once.

        Arguments:
            state: s_k, [B, *event].
            k: Trained step index in 1..K, an int or a LongTensor [B].
            condition: Class labels, a LongTensor [B], or None.

        Returns:
            The heads, raw (before any sigmoid or softplus), each [B, *event].
        """

    @abstractmethod
    def bias_heads(self, biases: Sequence[Tensor | None]) -> None:
        """Sets the bias of every head, so that training starts from known statistics.

        Arguments:
            biases: One tensor [*event] per head (None leaves a head as it is); a network whose
                read-out shares biases between elements takes the mean over those that share.
        """
