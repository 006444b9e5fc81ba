"""Optimisers and learning-rate schedules."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn

from chainkit.optimisation import Optimisers
from chainkit.testing.expect import expect, expect_type

UPDATES = 200


def check_optimizer(
    factory: Callable[[list[nn.Parameter]], torch.optim.Optimizer], *, device: torch.device | str = "cpu", where: str = "optimizer"
) -> None:
    """Checks what makes optimisers: they descend, and resume exactly from what a checkpoint keeps.

    Arguments:
        factory: A function from parameters to an optimiser.
        device: Where the parameters are.
        where: Name for messages.

    Raises:
        AssertionError: It breaks what the hook ``chainkit_optimizers`` promises.
    """

    def start() -> tuple[nn.Parameter, Optimisers]:
        parameter = nn.Parameter(torch.linspace(-1, 2, 4, device=device))
        expect_type(factory([parameter]), torch.optim.Optimizer, where)
        return parameter, Optimisers({"model": [parameter]}, {"model": factory})

    def descend(parameter: nn.Parameter, optimisers: Optimisers, updates: int) -> float:
        loss = parameter.new_zeros(())
        for _ in range(updates):
            loss = (parameter - 0.5).square().sum()
            loss.backward()
            optimisers.apply("model")
        return float(loss.detach())

    parameter, optimisers = start()
    before = descend(parameter, optimisers, 1)
    after = descend(parameter, optimisers, UPDATES)
    expect(math.isfinite(after) and after < before, where, f"a loss below {before:.4g} after {UPDATES} updates", after)
    resumed, others = start()
    with torch.no_grad():
        resumed.copy_(parameter)
    others.restore(*optimisers.state())
    descend(parameter, optimisers, 3)
    descend(resumed, others, 3)
    expect(torch.equal(parameter, resumed), where, "the same updates after its state is restored", "others")


def check_decay(decay: Callable[[int, int], float], *, updates: int = UPDATES, where: str = "decay") -> None:
    """Checks a learning-rate schedule.

    Arguments:
        decay: A function ``(update, updates) -> factor``.
        updates: Length of the training to try, 1 or more.
        where: Name for messages.

    Raises:
        AssertionError: It breaks what the hook ``chainkit_decays`` promises.
    """
    for update in range(updates + 1):
        factor = decay(update, updates)
        expect(isinstance(factor, (int, float)) and 0 <= factor <= 1, f"{where}({update}, {updates})", "a factor in [0, 1]", factor)
        again = decay(update, updates)
        expect(again == factor, f"{where}({update}, {updates})", f"the same factor every time, {factor}", again)
    expect(any(decay(update, updates) > 0 for update in range(updates)), where, "some update with a factor above 0", "none")
