"""What every module over states promises, whatever it computes: the same for one row as for many, in every precision.

A check hands in ``evaluate``, which takes the module, states and a step and gives tensors with one
row per state.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from chainkit.states import State, map_state
from chainkit.testing.expect import expect, expect_close, expect_tensor, leaves

Evaluate: TypeAlias = Callable[[nn.Module, State, Any, Any], Sequence[Tensor]]


def check_rows(module: nn.Module, evaluate: Evaluate, state: State, steps: int, condition: Any, where: str, *, mixed: bool = True) -> None:
    """In evaluation, every row is on its own, and the step may be an int or one index per row.

    Arguments:
        module: The module.
        evaluate: Evaluates it: (module, state, k, condition) to tensors [B, ...].
        state: [B, *event].
        steps: K.
        condition: One row per state, or None.
        where: Name for messages.
        mixed: Whether rows at different steps can share a batch; otherwise all are at step K.
    """
    module.eval()
    rows = len(leaves(state)[0])
    device = leaves(state)[0].device
    for k in sorted({1, steps}):
        expected = evaluate(module, state, k, condition)
        same = evaluate(module, state, torch.full((rows,), k, device=device), condition)
        _agree(same, expected, f"{where}, k a LongTensor of {k}s against k = {k}")
    index = torch.arange(rows, device=device) % steps + 1 if mixed else torch.full((rows,), steps, device=device)
    together = evaluate(module, state, index, condition)
    for row in range(rows):
        alone = evaluate(module, _row(state, row), int(index[row]), None if condition is None else _row(condition, row))
        _agree([part[row : row + 1] for part in together], alone, f"{where}, a row among others against the row alone")


def check_precisions(module: nn.Module, evaluate: Evaluate, state: State, k: int, condition: Any, where: str, *, wide: bool) -> None:
    """Works in float64, where it agrees with float32, and under bfloat16 autocast.

    Arguments:
        module: The module, in float32.
        evaluate: Evaluates it.
        state: [B, *event], float32.
        k: The step.
        condition: One row per state, or None.
        where: Name for messages.
        wide: Whether results must be float32 or wider under autocast.
    """
    module.eval()
    expected = evaluate(module, state, k, condition)
    double = evaluate(copy.deepcopy(module).double(), map_state(Tensor.double, state), k, condition)
    expect(all(part.dtype == torch.float64 for part in double), f"{where} in float64", "float64", [part.dtype for part in double])
    _agree([part.float() for part in double], expected, f"{where} in float64 against float32", tolerance=1e-3)
    with torch.autocast(leaves(state)[0].device.type, torch.bfloat16):
        narrow = evaluate(module, state, k, condition)
    for part, like in zip(narrow, expected, strict=True):
        expect_tensor(part, tuple(like.shape), f"{where} under bfloat16 autocast")
        expect(not wide or part.dtype == torch.float32, f"{where} under bfloat16 autocast", "float32", part.dtype)


def check_gradients(module: nn.Module, loss: Tensor, where: str, *, some: bool = True) -> None:
    """A loss can be trained on, and has finite gradients to the parameters.

    Arguments:
        module: The module; one without parameters has nothing to check.
        loss: A scalar.
        where: Name for messages.
        some: Whether at least one gradient must be other than 0.
    """
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if not parameters:
        return
    expect(loss.requires_grad, where, "a loss with gradient", "one without")
    gradients = [gradient for gradient in torch.autograd.grad(loss, parameters, allow_unused=True) if gradient is not None]
    expect(not some or any(bool(gradient.any()) for gradient in gradients), where, "a gradient to some parameter", "none")
    expect(all(bool(gradient.isfinite().all()) for gradient in gradients), where, "finite gradients", "some that are not")


def check_round_trip(module: nn.Module, evaluate: Evaluate, state: State, k: int, condition: Any, where: str) -> None:
    """Parameters and buffers that are saved and loaded give the same results.

    Arguments:
        module: The module.
        evaluate: Evaluates it.
        state: [B, *event].
        k: The step.
        condition: One row per state, or None.
        where: Name for messages.
    """
    module.eval()
    other = copy.deepcopy(module)
    with torch.no_grad():
        for tensor in (*other.parameters(), *other.buffers()):
            if tensor.is_floating_point():
                tensor.add_(1)
    other.load_state_dict(module.state_dict())
    _agree(evaluate(other, state, k, condition), evaluate(module, state, k, condition), f"{where} after a state_dict round trip")


def _row(state: State, row: int) -> State:
    return map_state(lambda part: part[row : row + 1], state)


def _agree(found: Sequence[Tensor], expected: Sequence[Tensor], where: str, tolerance: float = 1e-4) -> None:
    for part, target in zip(found, expected, strict=True):
        expect_close(part, target, where, tolerance=tolerance)
