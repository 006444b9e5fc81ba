"""The heartbeat: a binary sequence that beats in every fifth bin (Sohl-Dickstein et al. 2015, section 3.1)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from chainkit.component import Context
from chainkit.data import Data, Split
from chainkit.random import integers
from chainkit_datasets.drawn import draw_splits
from chainkit_datasets.drawn_configs import HeartbeatConfig
from chainkit_datasets.preparation import Given


def build_heartbeat(config: HeartbeatConfig, context: Context) -> Data:
    """Sequences [length] with ones where the bin is the phase modulo the period; the label is the phase."""
    bins = torch.arange(config.length) % config.period

    def draw(split: str, n: int, source: torch.Generator) -> Split:
        phase = integers(0, config.period - 1, n, "cpu", source)
        return Split(values=(bins == phase[:, None]).to(torch.uint8), labels=phase)

    def log_mass(sequences: Tensor, condition: Any) -> Tensor:
        phases = torch.arange(config.period, device=sequences.device)
        beating = (sequences[:, None] == (phases[:, None] == bins.to(sequences.device))).all(2)
        if config.labels:
            return torch.where(beating[phases == condition[:, None]], 0.0, -math.inf).double()
        return torch.where(beating.any(1), -math.log(config.period), -math.inf).double()

    classes = config.period if config.labels else None
    return Data("heartbeat", draw_splits("heartbeat", config, draw), Given("zeros and ones", binary=True), classes, log_mass)
