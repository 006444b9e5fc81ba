r"""Centres in the plane with normal noise around them, and the density of the points that come out.

.. math:: \log p(x) = \log \frac{1}{m} \sum_{j=1}^m N\left(x; c_j, \sigma^2 I\right)

for centres c_1..c_m that are equally likely. For a curve c(u) with u uniform on [0, 1] the sum over
the midpoints of m intervals is its quadrature: spaced by a small part of sigma it is exact to far
more digits than float32 points have, but for a relative error of about (spacing / sigma)^2 / 24
around the two ends of an open curve.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

SPACING = 0.25
"""Largest distance between neighbouring centres of a curve, as a part of sigma."""

HELD = 2**22
"""How many distances are held at once."""


def along(curve: Callable[[Tensor], Tensor], noise: float) -> Tensor:
    """Centres [m, 2] along a curve, dense enough for its quadrature.

    Arguments:
        curve: From u in [0, 1], [m], to points [m, 2]; a uniform u gives its law.
        noise: sigma, above 0.
    """
    m = 64
    while True:
        centres = curve((torch.arange(m, dtype=torch.float64) + 0.5) / m)
        if float(centres.diff(dim=0).norm(dim=1).max()) <= SPACING * noise:
            return centres
        m *= 2


def log_density(points: Tensor, centres: Tensor, noise: float) -> Tensor:
    """log p(x) of each point, float64 [B], in nats.

    Arguments:
        points: x, [B, 2].
        centres: c, [m, 2].
        noise: sigma, above 0.
    """
    centres, x = centres.to(points.device), points.double()
    parts = [
        torch.logsumexp(-torch.cdist(part, centres, compute_mode="donot_use_mm_for_euclid_dist").square() / (2 * noise**2), dim=1)
        for part in x.split(max(1, HELD // len(centres)))
    ]
    return torch.cat(parts) - math.log(len(centres) * 2 * math.pi * noise**2)
