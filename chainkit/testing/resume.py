"""Training that stops, is saved, and goes on in a fresh object is the training that never stopped, bit for bit."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor, nn

from chainkit.bundle import Tensors
from chainkit.optimisation import DEFAULT, Optimisers
from chainkit.testing.expect import expect
from chainkit.training import load_tensors, module_tensors

Backward: TypeAlias = Callable[[nn.Module, int], None]

BEFORE, AFTER = 2, 2
"""Updates before the stop, and after it."""


def check_resume(module: nn.Module, backward: Backward, where: str) -> None:
    """Checks that all that training changes is in parameters and buffers, which is what a checkpoint keeps.

    Arguments:
        module: What is trained; it is copied first, and stays as it is.
        backward: ``backward(module, n)`` leaves the gradients of the n-th update, with draws that
            depend on n alone.
        where: Name for messages.

    Raises:
        AssertionError: The training that was taken up ends with other numbers.
    """
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
        whole, fresh = _Training(module, backward), _Training(module, backward)
        for update in range(BEFORE):
            whole.train(update)
        fresh.take_up(whole)
        for update in range(BEFORE, BEFORE + AFTER):
            _compare(whole.train(update), fresh.train(update), f"{where}, trained, saved, loaded into a fresh one and trained on")


def _compare(expected: Tensors, seen: Tensors, where: str) -> None:
    other = [name for name in expected.keys() | seen.keys() if not _same(expected.get(name), seen.get(name))]
    expect(not other, where, "the numbers of training that never stopped", f"another {', another '.join(sorted(other)[:5])}")


def _same(first: Tensor | None, second: Tensor | None) -> bool:
    return first is not None and second is not None and torch.equal(first, second)


class _Training:
    """A copy of a module with an optimiser of its own."""

    def __init__(self, module: nn.Module, backward: Backward) -> None:
        self.module = copy.deepcopy(module).train()
        self.backward = backward
        parameters = [parameter for parameter in self.module.parameters() if parameter.requires_grad]
        self.optimisers = Optimisers({DEFAULT: parameters}, {DEFAULT: lambda own: torch.optim.Adam(own, lr=1e-3)})

    def train(self, update: int) -> Tensors:
        """Makes an update; gives the gradients, which show what an optimiser may level out, and the tensors after it."""
        self.backward(self.module, update)
        named = {name: parameter.grad for name, parameter in self.module.named_parameters() if parameter.grad is not None}
        gradients = {f"gradient of {name}": gradient.clone() for name, gradient in named.items()}
        for name in self.optimisers.sets if gradients else ():
            self.optimisers.apply(name)
        return {**gradients, **module_tensors(self.module)}

    def take_up(self, other: _Training) -> None:
        """Takes over what a checkpoint of another training would hold."""
        load_tensors(self.module, {name: tensor.clone() for name, tensor in module_tensors(other.module).items()})
        self.optimisers.restore(*other.optimisers.state())
