"""Objectives: a stream of finite scalars, each with its gradient, that memory need not hold together."""

from __future__ import annotations

import torch

from chainkit.batch import Batch
from chainkit.build import Model
from chainkit.chain import Chain
from chainkit.objective import Loss, Objective
from chainkit.optimisation import DEFAULT, parameter_sets
from chainkit.process import ForwardProcess
from chainkit.random import seeded
from chainkit.testing.expect import expect, expect_tensor, expect_type, leaves


def check_objective(
    objective: Objective, chain: Chain, process: ForwardProcess, batch: Batch, *, seed: int = 0, where: str = "objective"
) -> None:
    """Checks an objective.

    Arguments:
        objective: The objective, on the device of the batch.
        chain: A chain that it can train, likewise; left with gradients.
        process: A process that it can train with.
        batch: Examples.
        seed: Seed of all draws.
        where: Name for messages.

    Raises:
        AssertionError: It breaks what :class:`chainkit.objective.Objective` promises.
    """
    expect_type(objective, Objective, where)
    model = Model(chain, process, objective).train()
    sets = parameter_sets(model, objective.parameter_sets())
    device = leaves(batch.origin)[0].device
    totals = []
    state = {name: value.clone() for name, value in objective.state_dict().items()}
    for _ in range(2):
        objective.load_state_dict(state)
        model.zero_grad()
        count, total = 0, 0.0
        for loss in objective.losses(chain, process, batch, source=seeded(device, seed)):
            _check_loss(loss, sets, f"{where}, loss {count + 1}")
            loss.value.backward(inputs=[parameter for parameter in sets[loss.parameters or DEFAULT] if parameter.requires_grad])
            total += float(loss.value.detach())
            count += 1
        expect(count > 0, f"{where}.losses", "one loss or more", "none")
        totals.append(total)
    expect(totals[0] == totals[1], f"{where}.losses", "the same losses from the same source and state", totals)
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    expect(all(bool(gradient.isfinite().all()) for gradient in gradients), where, "finite gradients", "some that are not")
    expect(any(bool(gradient.any()) for gradient in gradients), where, "a gradient to some parameter", "none")


def _check_loss(loss: Loss, sets: dict[str, list[torch.nn.Parameter]], where: str) -> None:
    expect_type(loss, Loss, where)
    expect_tensor(loss.value, (), where)
    expect(loss.value.requires_grad, where, "a loss with gradient", "one without")
    expect((loss.parameters or DEFAULT) in sets, where, f"one of the parameter sets {', '.join(sets)}", loss.parameters)
    for name, value in loss.metrics.items():
        expect_tensor(torch.as_tensor(value), (), f"{where}, metric {name!r}")
        expect(not torch.as_tensor(value).requires_grad, f"{where}, metric {name!r}", "a detached number", "one with gradient")
