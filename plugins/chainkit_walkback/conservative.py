r"""The conservative operator: what the network proposes, averaged with what it was shown.

.. math:: (1 - \alpha) s_k + \alpha F(s_k)

(walkback paper, section 4.1). Freshly initialised, F is close to random, and without the first
term nothing would lead back from s_{k+1} to s_k.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from chainkit.network import Network
from chainkit.operator import TransitionOperator


def wide(tensor: Tensor) -> Tensor:
    """The tensor in float32 if its type is narrower: autocast reaches networks, never distributions."""
    return tensor if torch.finfo(tensor.dtype).bits >= 32 else tensor.float()


class ConservativeOperator(TransitionOperator):
    """An operator around a network, whose first head is averaged with the state.

    Arguments:
        network: F, with the number of heads that the operator states.
        alpha: The weight of F, in (0, 1]; 1 is no averaging.

    Raises:
        ValueError: ``alpha`` outside (0, 1].
    """

    def __init__(self, network: Network, alpha: float = 0.5) -> None:
        super().__init__()
        if not 0 < alpha <= 1:
            raise ValueError(f"alpha lies in (0, 1], not {alpha}")
        self.network = network
        self.alpha = alpha

    def average(self, state: Tensor, proposal: Tensor) -> Tensor:
        """(1 - alpha) s_k + alpha F(s_k), [B, *event], in float32 or wider."""
        return torch.lerp(state, wide(proposal), self.alpha)

    @abstractmethod
    def start_at(self, mean: Tensor) -> None:
        """Sets the heads' biases so that training starts from the mean of the data.

        Arguments:
            mean: Mean of the training data, [*event], in model units.
        """
