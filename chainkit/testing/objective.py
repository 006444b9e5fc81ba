"""Objectives: a stream of finite scalars, each with its gradient, that memory need not hold together."""

from __future__ import annotations

import copy

import attrs
import torch
from torch import Tensor, nn

from chainkit.batch import Batch
from chainkit.build import Model
from chainkit.chain import Chain
from chainkit.modes import evaluating
from chainkit.objective import LocalObjective, Loss, Objective
from chainkit.optimisation import DEFAULT, parameter_sets
from chainkit.process import ForwardProcess
from chainkit.random import Rows, seeded
from chainkit.states import map_state
from chainkit.testing.expect import expect, expect_close, expect_tensor, expect_type, leaves, own_draws
from chainkit.testing.resume import Backward, check_resume


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
        with own_draws(f"{where}.losses"):
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
    model.zero_grad()
    if isinstance(objective, LocalObjective):
        _check_rows(objective, chain, process, batch, seed, where)
    _check_precisions(model, batch, seed, where)
    check_resume(model, _descent(batch, seed), where)


def _descent(batch: Batch, seed: int) -> Backward:
    """Trains a model as its objective says, with one update per batch."""

    def backward(model: nn.Module, update: int) -> None:
        assert isinstance(model, Model)
        sets = parameter_sets(model, model.objective.parameter_sets())
        source = seeded(leaves(batch.origin)[0].device, seed, update)
        for loss in model.objective.losses(model.chain, model.process, batch, source=source):
            loss.value.backward(inputs=sets[loss.parameters or DEFAULT])

    return backward


def _check_precisions(model: Model, batch: Batch, seed: int, where: str) -> None:
    """Losses in float64 and, as training does, under bfloat16 autocast, of copies of the model."""
    device = leaves(batch.origin)[0].device
    wide = attrs.evolve(batch, origin=map_state(Tensor.double, batch.origin))
    double = copy.deepcopy(model).double()
    for loss in double.objective.losses(double.chain, double.process, wide, source=seeded(device, seed)):
        expect_tensor(loss.value, (), f"{where}, a loss in float64")
        expect(loss.value.dtype == torch.float64, f"{where}, a loss in float64", "float64", loss.value.dtype)
    same = copy.deepcopy(model)
    with torch.autocast(device.type, torch.bfloat16):
        for loss in same.objective.losses(same.chain, same.process, batch, source=seeded(device, seed)):
            expect_tensor(loss.value, (), f"{where}, a loss under bfloat16 autocast")
            expect(torch.finfo(loss.value.dtype).bits >= 32, f"{where}, a loss under bfloat16 autocast", "float32", loss.value.dtype)


@torch.no_grad()
def _check_rows(objective: LocalObjective, chain: Chain, process: ForwardProcess, batch: Batch, seed: int, where: str) -> None:
    """In evaluation the loss of a step is one number per example, which does not depend on the others."""
    device = leaves(batch.origin)[0].device

    def losses(index: list[int]) -> list[Tensor]:
        fresh, source = copy.deepcopy(objective), Rows([seeded(device, seed, row) for row in index])
        return [fresh.loss(transition) for transition in process.walk(chain, batch.chosen(index), source=source)]

    with evaluating(chain, process, objective):
        for step, (together, alone) in enumerate(zip(losses(list(range(batch.rows))), losses([1]), strict=True), 1):
            expect_tensor(together, (batch.rows,), f"{where}.loss, step {step} of a walk")
            expect_close(together[1:2], alone, f"{where}.loss, step {step} of a walk, an example among others against the example alone")


def _check_loss(loss: Loss, sets: dict[str, list[torch.nn.Parameter]], where: str) -> None:
    expect_type(loss, Loss, where)
    expect_tensor(loss.value, (), where)
    expect(loss.value.requires_grad, where, "a loss with gradient", "one without")
    expect((loss.parameters or DEFAULT) in sets, where, f"one of the parameter sets {', '.join(sets)}", loss.parameters)
    for name, value in loss.metrics.items():
        expect_tensor(value, (), f"{where}, metric {name!r}")
        expect(not value.requires_grad, f"{where}, metric {name!r}", "a detached number", "one with gradient")
