"""What it takes to share out a batch: one sum of gradients per update, and parts that allow it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from chainkit.capabilities import WholeBatch
from chainkit.distributed import current, shared
from chainkit.errors import RecipeError
from chainkit.fingerprint import tensor_fingerprint
from chainkit.interrupt import STOPPING, asked, interruption
from chainkit.statistics import RunningStatistics, SharedStatistics


@torch.no_grad()
def sum_gradients(parameters: Sequence[nn.Parameter], loss: Tensor) -> Tensor:
    r"""Replaces gradients by their sums over all processes, in one exchange.

    .. math:: \nabla L = \sum_r \nabla L_r, \qquad L_r = \frac{B_r}{B} \bar L_r

    where B_r of the B rows of the batch, with mean loss \bar L_r, are those of process r. A parameter that
    no process reached keeps no gradient.

    Arguments:
        parameters: The parameters, the same in every process.
        loss: L_r, a scalar.

    Returns:
        L.
    """
    group = current()
    if group.size == 1:
        return loss
    reached = loss.new_tensor([parameter.grad is not None for parameter in parameters])
    gradients = [torch.zeros_like(parameter) if parameter.grad is None else parameter.grad for parameter in parameters]
    parts = [loss.view(1), reached, *(gradient.reshape(-1) for gradient in gradients)]
    sums = group.sum(torch.cat(parts)).split([part.numel() for part in parts])
    for parameter, times, summed in zip(parameters, sums[1].tolist(), sums[2:], strict=True):
        parameter.grad = summed.view_as(parameter).to(parameter.dtype) if times else None
    return sums[0].view(())


def sum_metrics(metrics: Mapping[str, list[Tensor]], share: float) -> dict[str, list[Tensor]]:
    """Metrics of the whole batch, from those of this process's rows.

    Arguments:
        metrics: Scalars by name, means over the rows.
        share: B_r / B, the share of the rows that is here.
    """
    group, numbers = current(), [number for values in metrics.values() for number in values]
    if group.size == 1 or not numbers:
        return dict(metrics)
    sums = iter(group.sum(torch.stack([number.double() for number in numbers]) * share))
    return {name: [next(sums) for _ in values] for name, values in metrics.items()}


def poll_together() -> None:
    """Called by all processes at the same place, between updates: where a signal asked one of them to stop, all do.

    Raises:
        Interrupted: A signal asked to stop.
    """
    counts = current().sum(torch.tensor([float(asked() == number) for number in STOPPING])).tolist()
    for number, count in zip(STOPPING, counts, strict=True):
        if count:
            raise shared(interruption(number))


def require_shareable(model: nn.Module, rows: Mapping[str, int]) -> None:
    """Makes sure, before training, that its batches can be shared out among the processes.

    Arguments:
        model: All that is trained.
        rows: By the key that says so, into how many rows a batch has.

    Raises:
        RecipeError: A part of the model needs the whole batch in one process, or there are more
            processes than rows.
    """
    group = current()
    if group.size == 1:
        return
    problems = [f"{key}: {n} rows cannot be shared out among {group.size} processes" for key, n in rows.items() if n < group.size]
    problems += [f"{name}: {why} train in one process" for name, part in model.named_modules() if (why := _why_whole(part))]
    if problems:
        raise shared(RecipeError(*problems))


def _why_whole(part: nn.Module) -> str | None:
    if isinstance(part, WholeBatch):
        return f"{type(part).__name__} needs all rows of a batch at once;"
    if isinstance(part, (_BatchNorm, RunningStatistics)) and not isinstance(part, SharedStatistics):
        return f"{type(part).__name__} normalises by the rows of one process (no SharedStatistics);"
    return None


def require_same(tensors: Mapping[str, Tensor], when: str) -> None:
    """Makes sure that all processes hold the same tensors, bit for bit.

    Arguments:
        tensors: By name.
        when: When that is, for the message.

    Raises:
        RecipeError: They do not; a part that keeps state of the rows it has seen cannot share them.
    """
    group = current()
    if group.size == 1:
        return
    first, *others = group.everyones({name: tensor_fingerprint(tensor) for name, tensor in tensors.items()})
    differing = sorted({name for other in others for name in {**first, **other} if first.get(name) != other.get(name)})
    if differing:
        names = ", ".join(differing[:3])
        raise shared(RecipeError(f"{names}: not the same in all processes {when}; train in one process"))
