r"""Distributions: is log_prob the density of what sample draws?

For any normalised density g whose support lies in that of p,

.. math:: E_{s \sim p}\left[\frac{g(s)}{p(s)}\right] = 1

whatever p is: a test that needs neither its normalisation nor its distribution function. g is a
Gaussian somewhat narrower than the draws, so that the ratio has a small variance: for a product over
elements one test per element, otherwise one with the draws' covariance. Masses on bits are compared
with the shares of the draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from chainkit.capabilities import Density, Distribution, Factorial, HasMean, Reparametrised
from chainkit.random import seeded
from chainkit.states import State
from chainkit.testing.expect import expect, expect_close, expect_mean, expect_tensor, expect_type, leaves

DRAWS = 2000
NARROWER = 0.7
SHIFT = 0.5
RARE = 10
"""Expected number of events that are surely seen."""
LARGEST = 12
"""Elements of one row above which a density that is no product over elements is checked for its form alone."""
MOST_BITS = 8
"""The same for masses on bits."""

LogDensity: TypeAlias = Callable[[Tensor], Tensor]


def check_distribution(
    distribution: Distribution,
    *,
    parameters: Sequence[Tensor] = (),
    draws: int = DRAWS,
    seed: int = 0,
    device: torch.device | str = "cpu",
    where: str = "distribution",
) -> None:
    """Checks a distribution over one state per row.

    States that are not a single tensor, and draws of which no more is stated, are checked for their
    form alone.

    Arguments:
        distribution: The distribution.
        parameters: Tensors with ``requires_grad`` that it was made from; if there are any, the
            gradient of ``rsample`` is compared with that of the mean.
        draws: Draws per row for the statistical part, an even number.
        seed: Seed of all draws.
        device: Where it is.
        where: Name for messages.

    Raises:
        AssertionError: It breaks what the distributions of :mod:`chainkit.capabilities` promise.
    """
    expect_type(distribution, Distribution, where)
    state = distribution.sample(seeded(device, seed))
    check_draw(distribution, state, seed=seed, device=device, where=where)
    if not isinstance(state, Tensor) or not isinstance(distribution, (HasMean, Density, Reparametrised)):
        return
    source = seeded(device, seed, "draws")
    drawn = torch.stack([distribution.sample(source) for _ in range(draws)])
    if isinstance(distribution, Factorial):
        elementwise = distribution.log_prob_elementwise(state)
        expect_tensor(elementwise, tuple(state.shape), f"{where}.log_prob_elementwise")
        expect_close(elementwise.flatten(1).sum(1), distribution.log_prob(state), f"{where}.log_prob, the sum of log_prob_elementwise")
    check_draws(distribution, drawn, where)
    if isinstance(distribution, Reparametrised):
        check_gradient(distribution, parameters, seed=seed, device=device, where=where)


def check_draws(distribution: Distribution, drawn: Tensor, where: str) -> None:
    """Mean and log density are those of draws, whoever made them.

    Arguments:
        distribution: The distribution.
        drawn: Independent draws, [n, B, *event], n even.
        where: Name for messages.
    """
    if isinstance(distribution, HasMean):
        mean = distribution.mean.detach()
        expect_tensor(mean, tuple(drawn[0].shape), f"{where}.mean")
        expect_mean(drawn, mean.double(), f"{where}.mean, against draws", slack=RARE / len(drawn) if _binary(drawn) else 1e-6)
    if isinstance(distribution, Factorial):
        _check_elements(distribution, drawn, f"{where}.log_prob_elementwise")
    elif isinstance(distribution, Density):
        _check_rows(distribution, drawn, f"{where}.log_prob")


def check_draw(distribution: Distribution, state: State, *, seed: int = 0, device: torch.device | str = "cpu", where: str) -> None:
    """A draw is finite, detached and repeatable, and has a log density in float32 or wider.

    Arguments:
        distribution: The distribution.
        state: What it drew from a source of that seed.
        seed: The seed.
        device: Where it is.
        where: Name for messages.
    """
    parts = leaves(state)
    for part in parts:
        expect_tensor(part, tuple(part.shape), f"{where}.sample")
        expect(not part.requires_grad, f"{where}.sample", "a draw detached from the graph", "one that requires a gradient")
    again = leaves(distribution.sample(seeded(device, seed)))
    expect(all(map(torch.equal, parts, again)), f"{where}.sample", "the same draws from the same source", "different ones")
    if isinstance(distribution, Density):
        log_prob = distribution.log_prob(state)
        expect_tensor(log_prob, (len(parts[0]),), f"{where}.log_prob")
        expect(torch.finfo(log_prob.dtype).bits >= 32, f"{where}.log_prob", "float32 or wider", log_prob.dtype)


def check_gradient(
    distribution: Reparametrised, parameters: Sequence[Tensor], *, seed: int = 0, device: torch.device | str = "cpu", where: str
) -> None:
    """``rsample`` keeps its gradient, which in expectation is that of the mean.

    Arguments:
        distribution: The distribution.
        parameters: Tensors with ``requires_grad`` that it was made from; without any, only the
            form of the draw is checked.
        seed: Seed of all draws.
        device: Where it is.
        where: Name for messages.
    """
    source = seeded(device, seed, "gradient")
    draw = distribution.rsample(source)
    expect_tensor(draw, tuple(draw.shape), f"{where}.rsample")
    if not parameters:
        return
    expect(draw.requires_grad, f"{where}.rsample", "a draw with gradient", "one without")
    if not isinstance(distribution, HasMean):
        return

    def gradients(value: Tensor) -> Tensor:
        found = torch.autograd.grad(value.sum(), parameters, retain_graph=True, allow_unused=True, materialize_grads=True)
        return torch.cat([gradient.flatten() for gradient in found])

    expected = gradients(distribution.mean) if distribution.mean.requires_grad else torch.zeros(())
    drawn = torch.stack([gradients(distribution.rsample(source)) for _ in range(200)])
    expect_mean(drawn, expected.double(), f"{where}.rsample, its gradient against that of the mean", slack=1e-4)


def _binary(drawn: Tensor) -> bool:
    return bool(((drawn == 0) | (drawn == 1)).all())


def _check_elements(distribution: Factorial, drawn: Tensor, where: str) -> None:
    if not _binary(drawn):
        _check_density(distribution.log_prob_elementwise, drawn, _elementwise, where)
        return
    masses = [distribution.log_prob_elementwise(torch.full_like(drawn[0], value)) for value in (0, 1)]
    hits = [drawn == value for value in (0, 1)]
    _check_masses(masses, hits, where)


def _check_rows(distribution: Density, drawn: Tensor, where: str) -> None:
    size = drawn[0, 0].numel()
    if not _binary(drawn):
        if size <= LARGEST:
            _check_density(distribution.log_prob, drawn, _whole_rows, where)
    elif size <= MOST_BITS:
        states = torch.cartesian_prod(*[drawn.new_tensor([0, 1])] * size).view(2**size, *drawn.shape[2:])
        masses = [distribution.log_prob(state.expand_as(drawn[0])) for state in states]
        _check_masses(masses, [(drawn == state).flatten(2).all(2) for state in states], where)


def _check_masses(log_p: list[Tensor], hits: list[Tensor], where: str) -> None:
    """Masses of all values sum to 1, and each is the share of the draws that have the value."""
    masses = torch.stack(log_p).detach().double().exp()
    expect_close(masses.sum(0), torch.ones_like(masses[0]), f"{where}, summed over all values")
    expect_mean(torch.stack(hits, 1), masses, f"{where}, as the mass of the draws", slack=RARE / len(hits[0]))


def _check_density(log_prob: Callable[[Tensor], Tensor], drawn: Tensor, fit: Callable[[Tensor, float], LogDensity], where: str) -> None:
    """E[g(s) / p(s)] = 1, for each row or element and for their average.

    A density g at the mean of the draws shows errors of width, one to either side of it those of place.
    """
    fitted, tested = drawn.double().chunk(2)
    log_p = torch.stack([log_prob(value) for value in drawn[len(fitted) :]]).detach().double()
    for shift in (-SHIFT, 0, SHIFT):
        ratio = (fit(fitted, shift)(tested) - log_p).exp()
        for kept in (ratio, ratio.flatten(1).mean(1)):
            expect_mean(kept, 1.0, f"{where}, as the density of the draws")


def _elementwise(fitted: Tensor, shift: float) -> LogDensity:
    """log g of each element."""
    mean, deviation = fitted.mean(0) + shift * fitted.std(0), NARROWER * fitted.std(0)
    return lambda value: -0.5 * ((value - mean) / deviation).square() - deviation.log() - 0.5 * math.log(2 * math.pi)


def _whole_rows(fitted: Tensor, shift: float) -> LogDensity:
    """log g of each row."""
    flat = fitted.flatten(2).transpose(0, 1)
    centred = flat - flat.mean(1, keepdim=True)
    scale = torch.linalg.cholesky(centred.mT @ centred / flat.shape[1])
    mean = flat.mean(1) + shift * scale.sum(2) / flat.shape[2] ** 0.5
    test = torch.distributions.MultivariateNormal(mean, scale_tril=NARROWER * scale)
    return lambda value: test.log_prob(value.flatten(2))
