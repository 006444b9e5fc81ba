"""Priors: independent rows of a normalised density."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn

from chainkit.capabilities import Density
from chainkit.prior import Prior
from chainkit.random import Rows, seeded
from chainkit.testing.distribution import check_distribution
from chainkit.testing.expect import expect, expect_close, expect_tensor, expect_type, own_draws
from chainkit.testing.resume import Backward, check_resume


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
    with torch.no_grad(), own_draws(where):
        _check_draws(prior, shape, seed, device, where)
    check_resume(prior, _likelihood(seed, device), where)


def _likelihood(seed: int, device: torch.device | str) -> Backward:
    """Trains on -log p of draws; a prior with nothing to be learned is left as it is."""

    def backward(prior: nn.Module, update: int) -> None:
        distribution = prior(3)
        loss = -distribution.log_prob(distribution.sample(seeded(device, seed, update))).mean()
        if loss.requires_grad:
            loss.backward()

    return backward


def _check_draws(prior: Prior, shape: Sequence[int], seed: int, device: torch.device | str, where: str) -> None:
    expect_type(prior(3), Density, f"{where}(3)")
    check_distribution(prior(3), seed=seed, device=device, where=f"{where}(3)")
    together = prior(3).sample(Rows([seeded(device, seed, row) for row in range(3)]))
    expect_tensor(together, (3, *shape), f"{where}(3).sample")
    alone = prior(1).sample(Rows([seeded(device, seed, 1)]))
    expect_close(together[1:2], alone, f"{where}, a draw among others against the draw alone")
    expect_close(prior(3).log_prob(together)[1:2], prior(1).log_prob(alone), f"{where}, log p of a row among others against the row alone")
    wide = copy.deepcopy(prior).double()(3)
    double, drawn = wide.log_prob(together.double()), wide.sample(seeded(device, seed))
    expect({double.dtype, drawn.dtype} == {torch.float64}, f"{where} in float64", "float64", f"{double.dtype}, draws {drawn.dtype}")
    expect_close(double.float(), prior(3).log_prob(together), f"{where} in float64 against float32", tolerance=1e-3)
