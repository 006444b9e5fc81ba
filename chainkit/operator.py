"""The learned transition p(s_{k-1} | s_k), from noise towards data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from chainkit.kernel import Kernel
from chainkit.states import State


class TransitionOperator(nn.Module, ABC):
    """A learned transition operator. Calling it costs one network evaluation."""

    @abstractmethod
    def forward(self, state: State, k: int | Tensor, condition: Any = None) -> Kernel:
        """What the operator says about the state after ``state``.

        Arguments:
            state: s_k, [B, *event].
            k: Trained step index in 1..K, an int or, where examples sit at different steps, a
                LongTensor [B].
            condition: What the chain is conditioned on (labels [B], known pixels), or None.

        Returns:
            The kernel of s_{k-1}, its temperature still open, with gradient to the parameters. Its
            parameters are float32 or wider, also under autocast.
        """
