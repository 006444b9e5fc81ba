r"""What the first layer of a network is told: the step, a class label, or both.

.. math:: c = E_k + L_y, \qquad E_k = A\,\mathrm{silu}(B\,[\sin(k f_i), \cos(k f_i)]_i), \quad f_i = 10^{-4 i / n}

with n frequencies and learned A, B and L; or :math:`E_k = a\,k / K + b`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from chainkit_networks.configs import Step
from chainkit_networks.steps import step_row

if TYPE_CHECKING:
    from chainkit.data import Summary

FREQUENCIES = 32
LABEL_SCALE = 0.1


def waves(steps: int) -> Tensor:
    """[K, 2 n]: sines and cosines of every step, with wavelengths from 2 pi to 10^4 times that."""
    position = torch.arange(1, steps + 1, dtype=torch.float64)
    frequency = 10.0 ** (-4 * torch.arange(FREQUENCIES, dtype=torch.float64) / FREQUENCIES)
    phase = position[:, None] * frequency
    return torch.cat([phase.sin(), phase.cos()], 1).to(torch.get_default_dtype())


class StepEmbedding(nn.Module):
    """E_k.

    Arguments:
        features: Size of E_k.
        steps: K.
        scalar: Whether to use k / K instead of waves.
    """

    table: Tensor

    def __init__(self, features: int, steps: int, scalar: bool = False) -> None:
        super().__init__()
        self.steps = steps
        table = torch.arange(1, steps + 1)[:, None] / steps if scalar else waves(steps)
        self.register_buffer("table", table, persistent=False)
        size = table.shape[1]
        self.net = nn.Linear(size, features) if scalar else nn.Sequential(nn.Linear(size, size), nn.SiLU(), nn.Linear(size, features))

    def forward(self, k: int | Tensor) -> Tensor:
        """[features] for an int, [B, features] for a LongTensor [B]."""
        return self.net(self.table[step_row(k, self.steps)])


def classes_told(data: Summary) -> int | None:
    """Number of class labels that a network for some data is told, None where there are none.

    Arguments:
        data: What is known of the data.

    Raises:
        ValueError: Its examples are conditioned on real values, which these networks are not told.
    """
    if data.condition is not None:
        raise ValueError(
            "this network is told class labels, and not the examples that the labels are conditioned on; take the operator gsn"
        )
    return data.classes


class Conditioning(nn.Module):
    """c, to be added to the first hidden layer.

    Arguments:
        features: Number of features or channels of that layer.
        steps: K.
        step: ``none``, ``embedding`` or ``scalar``.
        classes: Number of class labels, or None where there are none.

    Raises:
        ValueError: An unknown ``step``; when called, labels are missing.
    """

    def __init__(self, features: int, steps: int, *, step: Step = "none", classes: int | None = None) -> None:
        super().__init__()
        if step not in ("none", "embedding", "scalar"):
            raise ValueError(f"step is one of none, embedding, scalar, not {step!r}")
        self.step = None if step == "none" else StepEmbedding(features, steps, scalar=step == "scalar")
        self.labels = None if classes is None else nn.Embedding(classes, features)
        if self.labels is not None:
            nn.init.normal_(self.labels.weight, std=LABEL_SCALE)

    def forward(self, k: int | Tensor, condition: Tensor | None = None) -> Tensor | None:
        """c, [features] or [B, features]; None where there is nothing to tell.

        Arguments:
            k: Step index in 1..K, an int or a LongTensor [B].
            condition: Labels, a LongTensor [B]; not used without classes.
        """
        step = None if self.step is None else self.step(k)
        if self.labels is None:
            return step
        if condition is None:
            raise ValueError(f"this network is conditioned on {self.labels.num_embeddings} classes, but no labels were given")
        label = self.labels(condition)
        return label if step is None else label + step
