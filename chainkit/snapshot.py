"""What an update may change, kept until it is known that its numbers are finite."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from chainkit.optimisation import Optimisers


class Snapshot:
    """A model as it was before an update.

    Walks change buffers (running statistics, persistent chains) before anything is known of the
    loss; they are copied at once. Parameters and optimisers change only when an optimiser steps;
    they are copied by :meth:`complete`, which is called only where a later part of the same update
    may still fail.

    Arguments:
        model: All that is trained.
        optimisers: Its optimisers.
    """

    def __init__(self, model: nn.Module, optimisers: Optimisers) -> None:
        self.model = model
        self.optimisers = optimisers
        self._tensors = [(buffer, buffer.clone()) for buffer in model.buffers()]
        self._optimisers: tuple[dict[str, Tensor], dict[str, Any]] | None = None

    def complete(self) -> None:
        """Copies parameters and the state of the optimisers, once."""
        if self._optimisers is None:
            self._tensors += [(parameter, parameter.detach().clone()) for parameter in self.model.parameters()]
            tensors, numbers = self.optimisers.state()
            self._optimisers = ({name: tensor.clone() for name, tensor in tensors.items()}, numbers)

    @torch.no_grad()
    def restore(self) -> None:
        """Puts everything back and forgets the gradients."""
        for tensor, copy in self._tensors:
            tensor.copy_(copy)
        if self._optimisers is not None:
            self.optimisers.restore(*self._optimisers)
        self.optimisers.forget_gradients()
