"""Denoising stays local to a step; the bound has the gradient of the whole path."""

import pytest
import torch
from torch import nn

from chainkit import Batch, Chain, TransitionOperator
from chainkit.capabilities import Distribution
from chainkit.distributions import Gaussian, Infused
from chainkit.kernel import GaussianKernel
from chainkit.random import seeded
from chainkit.transition import Transition
from chainkit_infusion import Denoising, IncreasingRate, InfusionProcess, NearGaussian
from chainkit_infusion.configs import LowerBoundConfig
from chainkit_infusion.objectives import lower_bound
from chainkit_priors import GaussianPrior

DOUBLE = torch.float64


class PerStep(TransitionOperator):
    """p(s_{k-1} | s_k) = N(a_k tanh(s_k), exp(c_k)), parameters of every step on their own."""

    def __init__(self, steps):
        super().__init__()
        self.slope = nn.ParameterList(torch.tensor(0.4 + 0.1 * k, dtype=DOUBLE) for k in range(steps))
        self.log_variance = nn.ParameterList(torch.tensor(-1.0 - 0.2 * k, dtype=DOUBLE) for k in range(steps))

    def forward(self, state, k, condition=None):
        return GaussianKernel(self.slope[k - 1] * state.tanh(), self.log_variance[k - 1].exp())


def make(steps=3, dim=2):
    return Chain(GaussianPrior(torch.zeros(dim, dtype=DOUBLE), torch.ones(dim, dtype=DOUBLE)), PerStep(steps), steps)


def batch(rows=5, dim=2):
    return Batch.of(torch.linspace(-1, 1, rows * dim, dtype=DOUBLE).view(rows, dim))


PROCESS = InfusionProcess(IncreasingRate(0.2, 0.1), NearGaussian(0.01))


def test_denoising_weighs_every_state_by_its_paper_time():
    chain, examples = make(), batch()
    steps = list(PROCESS.walk(chain, examples, source=seeded("cpu", 0)))
    losses = list(Denoising().losses(chain, PROCESS, examples, source=seeded("cpu", 0)))
    assert len(losses) == 3
    for loss, step, weight in zip(losses, steps, [1 / 3, 2 / 3, 1], strict=True):
        torch.testing.assert_close(loss.value, -weight * step.reverse.log_prob(examples.origin).mean())


def test_denoising_sends_no_gradient_from_one_step_to_another():
    chain = make()
    for step, loss in zip([3, 2, 1], Denoising().losses(chain, PROCESS, batch(), source=seeded("cpu", 0)), strict=True):
        chain.zero_grad()
        loss.value.backward()
        assert [slope.grad is not None for slope in chain.operator.slope] == [k == step for k in (1, 2, 3)]


def test_an_update_between_two_losses_does_not_move_the_state_already_drawn():
    untouched = [step.state for step in PROCESS.walk(make(), batch(), source=seeded("cpu", 0))]
    chain = make()
    walk = PROCESS.walk(chain, batch(), source=seeded("cpu", 0))
    next(walk)
    with torch.no_grad():
        chain.operator.slope[2].mul_(100)
    torch.testing.assert_close(next(walk).state, untouched[1], rtol=0, atol=0)


def test_denoising_works_on_a_stack_of_many_steps():
    chain, objective = make(), Denoising()
    steps = list(PROCESS.walk(chain, batch(), source=seeded("cpu", 0)))
    means = torch.cat([step.reverse.mean for step in steps])
    variances = torch.cat([step.reverse.variance.expand(5, 1) for step in steps])
    stack = Transition(
        k=torch.tensor([3, 2, 1]).repeat_interleave(5),
        steps=3,
        state=torch.cat([step.state for step in steps]),
        previous=None,
        origin=batch().origin.repeat(3, 1),
        reverse=Gaussian(means, variances),
    )
    torch.testing.assert_close(objective.loss(stack), torch.cat([objective.loss(step) for step in steps]))


def test_denoising_needs_a_density():
    class Opaque(Distribution):
        def sample(self, source=None):
            return torch.zeros(1, 2)

    step = Transition(k=1, steps=1, state=None, previous=None, origin=torch.zeros(1, 2), reverse=Opaque())
    with pytest.raises(TypeError, match=r"Density.*Opaque"):
        Denoising().loss(step)


def test_the_gradient_of_the_bound_is_that_of_finite_differences_with_the_same_random_numbers():
    chain, objective = make(), lower_bound(LowerBoundConfig(), None)

    def value():
        (loss,) = objective.losses(chain, PROCESS, batch(), source=seeded("cpu", 5))
        return loss.value

    value().backward()
    for parameter in chain.parameters():
        step, at = 1e-5, parameter.item()
        with torch.no_grad():
            parameter.fill_(at + step)
            above = value().item()
            parameter.fill_(at - step)
            below = value().item()
            parameter.fill_(at)
        assert parameter.grad.item() == pytest.approx((above - below) / (2 * step), rel=1e-6, abs=1e-8)


def test_the_gradient_of_the_bound_is_unbiased():
    """K = 2, one element: the bound by quadrature, its derivative by differences, its gradient by many walks."""
    grid, origin = torch.linspace(-6, 6, 801, dtype=DOUBLE), torch.tensor([[0.5]], dtype=DOUBLE)
    chain, process = make(2, 1), InfusionProcess(IncreasingRate(0.2, 0.2), NearGaussian(0.04))
    near = process.near(origin)

    def bound():
        first, likelihood = Infused(chain.prior(1), near, 0.2), chain.operator(grid[:, None], 1).at().log_prob(origin)
        given = Infused(Gaussian(chain.operator(grid[:, None, None], 2).at().mean, chain.operator.log_variance[1].exp()), near, 0.4)
        elementwise = given.log_prob_elementwise(grid[None, :, None]).squeeze(-1)
        base = given.base.log_prob_elementwise(grid[None, :, None]).squeeze(-1)
        inner = torch.trapezoid(elementwise.exp() * (base - elementwise + likelihood), grid)
        gain = first.log_base_ratio(grid[:, None])
        return torch.trapezoid(first.log_prob(grid[:, None]).exp() * (gain + inner), grid)

    exact = torch.autograd.grad(bound(), list(chain.parameters()))
    estimates = []
    for seed in range(30):
        (loss,) = lower_bound(LowerBoundConfig(), None).losses(chain, process, Batch.of(origin.expand(2000, 1)), source=seeded("cpu", seed))
        estimates.append(torch.stack(torch.autograd.grad(-loss.value, list(chain.parameters()))))
    found = torch.stack(estimates)
    assert ((found.mean(0) - torch.stack(exact)).abs() < 4 * found.std(0) / 30**0.5).all()
