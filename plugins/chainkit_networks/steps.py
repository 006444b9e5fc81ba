"""Parameters that differ from step to step, looked up by an int or by one index per row."""

from __future__ import annotations

from collections.abc import Callable
from typing import overload

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

_CYCLES = WeakTensorKeyDictionary()
"""What is known of tensors of steps: to look into one waits for its device."""


@overload
def step_row(k: int, steps: int) -> int: ...
@overload
def step_row(k: Tensor, steps: int) -> Tensor: ...
@overload
def step_row(k: int | Tensor, steps: int) -> int | Tensor: ...
def step_row(k: int | Tensor, steps: int) -> int | Tensor:
    """k - 1, the row of a table with one row for each step.

    Arguments:
        k: Step index in 1..K, an int or a LongTensor [B].
        steps: K.

    Raises:
        IndexError: An int outside 1..K. A tensor is not looked at, which would wait for the device.
    """
    if isinstance(k, int) and not 1 <= k <= steps:
        raise IndexError(f"step {k} of a network with steps 1..{steps}")
    return k - 1


def cycle_of(k: Tensor) -> Tensor | None:
    """The steps that come again and again, in the same order, where those of many examples stand side by side.

    Arguments:
        k: Step of each row, a LongTensor [B T].

    Returns:
        [T], all different, with T below the number of rows; None where the rows are in no such order.
    """
    if k not in _CYCLES:
        _CYCLES[k] = _found(k)
    return _CYCLES[k]


def _found(k: Tensor) -> Tensor | None:
    again = (k[1:] == k[0]).nonzero()
    if not len(again):
        return None
    length = int(again[0]) + 1
    cycle = k[:length]
    if len(k) % length or len(cycle.unique()) < length or not bool((k.view(-1, length) == cycle).all()):
        return None
    return cycle.clone()  # a view would keep k alive


def by_step(function: Callable[[Tensor, int], Tensor], values: Tensor, k: Tensor) -> Tensor:
    """Applies a function to the rows of each distinct step at once.

    Arguments:
        function: Maps the rows [n, ...] of one step, and the step, to n rows.
        values: [B, ...].
        k: Step of each row, a LongTensor [B].

    Returns:
        The results, in the order of ``values``.
    """
    order = k.argsort(stable=True)
    steps, counts = torch.unique_consecutive(k[order], return_counts=True)
    parts = values[order].split(counts.tolist())
    results = [function(part, step) for part, step in zip(parts, steps.tolist(), strict=True)]
    return torch.cat(results)[order.argsort()]
