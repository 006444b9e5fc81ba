"""Infusion against exact answers: E_q[w] = p(x), by enumeration, by quadrature and by a closed form."""

import itertools
import math

import pytest
import torch

from chainkit import Batch, Chain, TransitionOperator
from chainkit.distributions import Gaussian, Infused
from chainkit.kernel import BernoulliKernel, GaussianKernel
from chainkit.random import seeded
from chainkit.transition import total_log_ratio
from chainkit_infusion import IncreasingRate, InfusionProcess, NearBits, NearGaussian
from chainkit_priors import BernoulliPrior, GaussianPrior

DOUBLE = torch.float64


class Bits(TransitionOperator):
    """p(s_{k-1} | s_k): logits are linear in s_k, and different at every step."""

    weight = torch.tensor([[[1.0, -2.0], [0.5, 1.5]], [[-1.0, 0.7], [2.0, -0.3]]], dtype=DOUBLE)

    def forward(self, state, k, condition=None):
        return BernoulliKernel(state @ self.weight[k - 1] - 0.3 * k)


class Affine(TransitionOperator):
    """p(s_{k-1} | s_k) = N(a_k s_k + b_k, c_k) for each element on its own."""

    def __init__(self, slope, shift, variance):
        super().__init__()
        self.slope, self.shift, self.variance = (torch.tensor(values, dtype=DOUBLE) for values in (slope, shift, variance))

    def forward(self, state, k, condition=None):
        return GaussianKernel(self.slope[k - 1] * state + self.shift[k - 1], self.variance[k - 1].expand_as(state))


def states():
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=2)), dtype=DOUBLE)


def binary_chain():
    return Chain(BernoulliPrior(torch.tensor([0.3, 0.6], dtype=DOUBLE)), Bits(), 2)


def mass(rates, value):
    """prod_i rate_i^s_i (1 - rate_i)^(1 - s_i)."""
    return (rates * value + (1 - rates) * (1 - value)).prod(-1).item()


def binary_paths(chain, origin, rates, flip):
    """For every path (s_2, s_1): p(x, path) and q(path | x), from the definition."""
    near = (origin - flip).abs()
    p2 = chain.prior(1).mean[0]
    for s2, s1 in itertools.product(states(), repeat=2):
        p1, p0 = (chain.operator(s[None], k).at(1.0).mean[0] for s, k in ((s2, 2), (s1, 1)))
        joint = mass(p2, s2) * mass(p1, s1) * mass(p0, origin)
        proposal = mass((1 - rates[0]) * p2 + rates[0] * near, s2) * mass((1 - rates[1]) * p1 + rates[1] * near, s1)
        yield (*s2.tolist(), *s1.tolist()), joint, proposal


def test_every_path_of_an_enumerated_binary_chain_has_its_exact_weight_and_frequency():
    chain, origin, rows = binary_chain(), torch.tensor([1.0, 0.0], dtype=DOUBLE), 20_000
    process = InfusionProcess(IncreasingRate(0.2, 0.1), NearBits(0.1))
    walk = list(process.walk(chain, Batch.of(origin.expand(rows, 2)), source=seeded("cpu", 0), with_log_ratio=True))
    log_w = total_log_ratio(walk)
    path = torch.cat([walk[0].state, walk[1].state], 1)
    paths = list(binary_paths(chain, origin, [6554 / 2**16, 19661 / 2**16], 0.1))
    assert sum(proposal for _, _, proposal in paths) == pytest.approx(1)
    evidence = 0.0
    for bits, joint, proposal in paths:
        taken = (path == path.new_tensor(bits)).all(1)
        assert abs(taken.double().mean().item() - proposal) < 4.5 * math.sqrt(proposal / rows)
        torch.testing.assert_close(log_w[taken], torch.full_like(log_w[taken], math.log(joint / proposal)))
        evidence += proposal * log_w[taken][0].exp().item()
    assert evidence == pytest.approx(sum(joint for _, joint, _ in paths), rel=1e-12)


def test_importance_sampling_reaches_the_mass_of_every_state_of_a_binary_chain():
    chain, rows = binary_chain(), 10_000
    total = 0.0
    for origin in states():
        exact = sum(joint for _, joint, _ in binary_paths(chain, origin, [0, 0], 0.1))
        process = InfusionProcess(IncreasingRate(0.3, 0.1), NearBits(0.05))
        weights = total_log_ratio(process.walk(chain, Batch.of(origin.expand(rows, 2)), source=seeded("cpu", 1), with_log_ratio=True)).exp()
        assert abs(weights.mean().item() - exact) < 4 * weights.std().item() / math.sqrt(rows)
        total += exact
    assert total == pytest.approx(1)


@pytest.mark.parametrize("rates", [(0.0, 0.0), (0.1, 0.4), (0.5, 1.0)])
def test_the_expected_weight_of_a_scalar_chain_is_its_density_by_quadrature(rates):
    operator = Affine([0.6, 0.8], [0.1, -0.2], [0.3, 0.5])
    grid = torch.linspace(-7, 7, 1401, dtype=DOUBLE)
    origin, one = torch.tensor([[0.4]], dtype=DOUBLE), torch.ones(1, dtype=DOUBLE)
    near, prior = NearGaussian(0.01)(origin), Gaussian(torch.zeros(1, dtype=DOUBLE), one)
    first = Infused(prior, near, rates[0])
    outer = (first.log_prob(grid[:, None]) + first.log_base_ratio(grid[:, None])).exp()
    inner = []
    for s2 in grid[:, None, None]:
        second = Infused(operator(s2, 2).at(1.0), near, rates[1])
        likelihood = operator(grid[:, None], 1).at(1.0).log_prob(origin)
        log_q, gain = second.log_prob(grid[:, None]), second.log_base_ratio(grid[:, None])
        inner.append(torch.trapezoid((log_q + gain + likelihood).exp(), grid))
    expected = torch.trapezoid(outer * torch.stack(inner), grid).item()
    mean, variance = 0.6 * -0.2 + 0.1, 0.36 * (0.64 + 0.5) + 0.3
    assert expected == pytest.approx(math.exp(torch.distributions.Normal(mean, variance**0.5).log_prob(origin).item()), rel=1e-6)


def test_importance_sampling_reaches_the_closed_form_of_a_gaussian_chain_and_the_bound_stays_below():
    slope, shift, variance = [[0.9, 0.5]] * 4, [[0.1, -0.1]] * 4, [[0.2, 0.3]] * 4
    prior_mean, prior_variance = torch.tensor([0.5, -0.5], dtype=DOUBLE), torch.tensor([1.0, 2.0], dtype=DOUBLE)
    chain = Chain(GaussianPrior(prior_mean, prior_variance), Affine(slope, shift, variance), 4)
    mean, spread = prior_mean, prior_variance
    for _ in range(4):
        mean, spread = chain.operator.slope[0] * mean + chain.operator.shift[0], chain.operator.slope[0] ** 2 * spread
        spread = spread + chain.operator.variance[0]
    points = torch.tensor([[0.0, 0.0], [1.0, -1.0], [2.5, 0.8]], dtype=DOUBLE)
    exact = torch.distributions.Normal(mean, spread.sqrt()).log_prob(points).sum(1)
    walks = 20_000
    process = InfusionProcess(IncreasingRate(0.1, 0.05), NearGaussian(0.01))
    log_w = total_log_ratio(process.walk(chain, Batch.of(points).repeat(walks), source=seeded("cpu", 0), with_log_ratio=True)).view(
        3, walks
    )
    weights = (log_w - exact[:, None]).exp()
    assert ((weights.mean(1) - 1).abs() < 4 * weights.std(1) / math.sqrt(walks)).all()
    assert (log_w.mean(1) < exact).all()
