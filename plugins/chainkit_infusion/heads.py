"""How raw heads of a network become means and variances, and where they start."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import torch
from torch import Tensor

from chainkit.data import Summary

MARGIN = 0.02
"""A sigmoid head starts within [MARGIN, 1 - MARGIN]: further out its gradient vanishes."""


def widened(head: Tensor) -> Tensor:
    """A head as float32 or wider: under autocast a variance of 1e-4 would not survive bfloat16."""
    return head.to(torch.promote_types(head.dtype, torch.float32))


def logit(value: Tensor) -> Tensor:
    """The bias at which a sigmoid head gives ``value``, or the nearest to it that still learns."""
    return value.clamp(MARGIN, 1 - MARGIN).logit()


def unchanged(value: Tensor) -> Tensor:
    """The identity."""
    return value


@attrs.frozen
class Link:
    """How a mean head is read.

    Arguments:
        mean: From the raw head to the mean, in model units.
        bias: From a mean to the raw head that gives it.
    """

    mean: Callable[[Tensor], Tensor]
    bias: Callable[[Tensor], Tensor]


LINKS = {"sigmoid": Link(torch.sigmoid, logit), "linear": Link(unchanged, unchanged)}


def link(name: str) -> Link:
    """A way to read a mean head.

    Arguments:
        name: ``sigmoid`` or ``linear``.

    Raises:
        ValueError: Another name.
    """
    if name not in LINKS:
        raise ValueError(f"mean is one of {', '.join(LINKS)}, not {name!r}")
    return LINKS[name]


def require_reach(name: str, data: Summary) -> None:
    """Refuses a sigmoid mean for data that cannot lie on [0, 1].

    Values on [0, 1] with mean m have a variance of at most m (1 - m).

    Raises:
        ValueError: The moments of the data say that it leaves [0, 1].
    """
    spread = data.variance - data.mean * (1 - data.mean)
    if name == "sigmoid" and bool((spread > 0.01).any()):
        low, high = data.mean.min().item(), data.mean.max().item()
        raise ValueError(
            f'mean = "sigmoid" reaches only values between 0 and 1, which this data exceeds '
            f'(means {low:.3g} to {high:.3g}, largest variance {data.variance.max().item():.3g}); use mean = "linear"'
        )
