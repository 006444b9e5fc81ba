"""Priors: independent rows of a normalised density."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch

from chainkit.capabilities import Density
from chainkit.prior import Prior
from chainkit.random import Rows, seeded
from chainkit.testing.distribution import check_distribution
from chainkit.testing.expect import expect, expect_close, expect_tensor, expect_type


@torch.no_grad()
def check_prior(prior: Prior, shape: Sequence[int], *, seed: int = 0, device: torch.device | str = "cpu", where: str = "prior") -> None:
    """Checks a prior over states that are single tensors.

    Arguments:
        prior: The prior, float32.
        shape: Shape of one state.
        seed: Seed of all draws.
        device: Where it is.
        where: Name for messages.

    Raises:
        AssertionError: It breaks what :class:`chainkit.prior.Prior` promises.
    """
    expect_type(prior, Prior, where)
    expect_type(prior(3), Density, f"{where}(3)")
    check_distribution(prior(3), seed=seed, device=device, where=f"{where}(3)")
    together = prior(3).sample(Rows([seeded(device, seed, row) for row in range(3)]))
    expect_tensor(together, (3, *shape), f"{where}(3).sample")
    alone = prior(1).sample(Rows([seeded(device, seed, 1)]))
    expect_close(together[1:2], alone, f"{where}, a draw among others against the draw alone")
    expect_close(prior(3).log_prob(together)[1:2], prior(1).log_prob(alone), f"{where}, log p of a row among others against the row alone")
    double = copy.deepcopy(prior).double()(3).log_prob(together.double())
    expect(double.dtype == torch.float64, f"{where} in float64", "float64", double.dtype)
    expect_close(double.float(), prior(3).log_prob(together), f"{where} in float64 against float32", tolerance=1e-3)
