"""Temporary modes of modules. Nothing yields inside one of these contexts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from chainkit.statistics import RunningStatistics


@contextmanager
def evaluating(*modules: nn.Module) -> Iterator[None]:
    """Puts modules into evaluation mode and restores each submodule's own mode at the end."""
    modes = [(part, part.training) for module in modules for part in module.modules()]
    for module in modules:
        module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


@contextmanager
def matmul_precision(name: str) -> Iterator[None]:
    """Makes float32 products so, and as before at the end.

    Arguments:
        name: ``highest``, ``high`` or ``medium``.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(name)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Evaluates without updating running statistics, batch statistics still used while training.

    The evaluation at s_0, which serves only to draw s_1, is made so.
    """
    tracking = [part for part in module.modules() if isinstance(part, (_BatchNorm, RunningStatistics)) and part.track_running_stats]
    for part in tracking:
        part.track_running_stats = False
    try:
        yield
    finally:
        for part in tracking:
            part.track_running_stats = True
