"""Normalisation statistics for the figures that are reported.

While training, batch normalisation uses the statistics of each batch; a figure for x would then
depend on its batch-mates. Before anything is reported the statistics are recomputed on walks of
the training set (infusion paper, appendix A.1), for exactly the weights that are reported.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from chainkit.interrupt import poll

if TYPE_CHECKING:
    from chainkit.batch import Batch
    from chainkit.chain import Chain
    from chainkit.process import ForwardProcess
    from chainkit.random import Source


class RunningStatistics(ABC):
    """A module that normalises by batch statistics and keeps running ones, as torch's own do.

    ``track_running_stats`` says whether a training-mode evaluation updates them, ``momentum`` how
    far (None averages all evaluations since the reset).
    """

    track_running_stats: bool
    momentum: float | None

    @abstractmethod
    def reset_running_stats(self) -> None:
        """Forgets what was averaged so far."""


class SharedStatistics:
    """Of a module that normalises by batch statistics: the batch is that of all processes together.

    It sums over the rows of all of them by ``chainkit.distributed.current().total``.
    """


def normalisers(module: nn.Module) -> list[_BatchNorm | RunningStatistics]:
    """The parts of a module that keep running statistics of their batches."""
    return [part for part in module.modules() if isinstance(part, (_BatchNorm, RunningStatistics)) and part.track_running_stats]


@torch.no_grad()
def recompute_statistics(chain: Chain, process: ForwardProcess, batch: Batch, *, source: Source = None) -> None:
    """Replaces running statistics by those of one walk of many training examples.

    The examples walk together, as one batch. At each step the statistics are then those of all of
    them, and the next states are drawn from the kernel that these statistics give: each step is
    recomputed with the steps before it already frozen. A normaliser with statistics of its own for
    every step gets them exactly; one shared by all steps gets their average.

    Arguments:
        chain: The chain.
        process: The forward process that draws the training walks. Only normalisers change, those
            of the chain and those of networks that the process owns; nothing happens if there are none.
        batch: Training examples, as many as memory allows; the statistics are theirs. Several
            processes share them out.
        source: Where the random numbers come from.
    """
    walked = nn.ModuleList([chain, process])
    parts = normalisers(walked)
    if not parts:
        return
    modes = [(part, part.training) for part in walked.modules()]
    momenta = [part.momentum for part in parts]
    walked.eval()
    for part in parts:
        part.reset_running_stats()
        part.momentum = None
        part.train()  # type: ignore[union-attr]
    try:
        for _ in process.walk(chain, batch, source=source):
            poll()
    finally:
        for part, momentum in zip(parts, momenta, strict=True):
            part.momentum = momentum
        for module, training in modes:
            module.training = training
