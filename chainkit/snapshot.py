"""What an update may change, kept until it is known that its numbers are finite."""

from __future__ import annotations

from collections.abc import Mapping
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

    Copies go where those of the update before went: a model of millions of parameters would otherwise
    ask for fresh memory every time.

    Arguments:
        model: All that is trained.
        optimisers: Its optimisers.
    """

    def __init__(self, model: nn.Module, optimisers: Optimisers) -> None:
        self.model = model
        self.optimisers = optimisers
        self._buffers: dict[str, Tensor] = {}
        self._parameters: dict[str, Tensor] = {}
        self._optimiser: dict[str, Tensor] = {}
        self._numbers: dict[str, Any] = {}
        self._complete = False

    def begin(self) -> None:
        """Copies the buffers: an update begins."""
        self._complete = False
        self._buffers = _copied(dict(self.model.named_buffers()), self._buffers)

    def complete(self) -> None:
        """Copies parameters and the state of the optimisers, once in an update."""
        if self._complete:
            return
        tensors, self._numbers = self.optimisers.state()
        self._optimiser = _copied(tensors, self._optimiser)
        self._parameters = _copied(dict(self.model.named_parameters()), self._parameters)
        self._complete = True

    @torch.no_grad()
    def restore(self) -> None:
        """Puts everything back as the update found it and forgets the gradients."""
        kept = {**self._buffers, **(self._parameters if self._complete else {})}
        for name, tensor in [*self.model.named_buffers(), *self.model.named_parameters()]:
            if name in kept:
                tensor.copy_(kept[name])
        if self._complete:
            self.optimisers.restore(self._optimiser, self._numbers)
        self.optimisers.forget_gradients()


@torch.no_grad()
def _copied(tensors: Mapping[str, Tensor], into: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies of tensors, in the memory of earlier copies where they fit."""

    def copy(tensor: Tensor, old: Tensor | None) -> Tensor:
        fits = old is not None and old.shape == tensor.shape and old.dtype == tensor.dtype
        return old.copy_(tensor) if fits and old is not None else tensor.detach().clone()

    return {name: copy(tensor, into.get(name)) for name, tensor in tensors.items()}
