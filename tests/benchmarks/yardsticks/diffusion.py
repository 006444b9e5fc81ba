r"""Sampling of a Gaussian diffusion with predicted noise, written out.

.. math:: \hat x = (s_k - \sqrt{1 - a_k}\, e) / \sqrt{a_k}, \qquad
    s_{k-1} = \frac{\sqrt{a_{k-1}}\, b_k}{1 - a_k} \hat x + \frac{\sqrt{1 - b_k}\,(1 - a_{k-1})}{1 - a_k} s_k + \sqrt{b_k}\, n

(Ho et al. 2020, eqs. 7, 11 and 15, with the variance b_k and with x held within its range).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


@torch.no_grad()
def sample(noise: Callable[[Tensor, int], Tensor], variances: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Draws from the model.

    Arguments:
        noise: The network e(s_k, k).
        variances: b_1..b_K.
        shape: Shape of the draws, [n, *event].
    """
    kept = (1 - variances).cumprod(0).tolist()
    state = torch.randn(shape)
    for k in range(len(kept), 0, -1):
        b, a, before = float(variances[k - 1]), kept[k - 1], kept[k - 2] if k > 1 else 1.0
        origin = ((state - (1 - a) ** 0.5 * noise(state, k)) / a**0.5).clamp(0, 1)
        mean = before**0.5 * b / (1 - a) * origin + (1 - b) ** 0.5 * (1 - before) / (1 - a) * state
        state = mean + b**0.5 * torch.randn_like(state)
    return state
