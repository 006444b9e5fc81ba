"""The distributions: densities against torch, draws against densities, divergences against Monte Carlo."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import distributions as reference

from chainkit.distributions import Bernoulli, Gaussian, Infused, StraightThrough, Wrapped, kl_divergence, register_kl
from chainkit.random import Rows, seeded

N = 100_000

reals = st.floats(-20, 20)
positives = st.floats(1e-3, 1e3)


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor([values], dtype=torch.float64)


@given(value=reals, mean=reals, variance=positives)
def test_gaussian_density_is_that_of_torch(value, mean, variance):
    found = Gaussian(tensor(mean), tensor(variance)).log_prob_elementwise(tensor(value))
    expected = reference.Normal(tensor(mean), tensor(variance).sqrt()).log_prob(tensor(value))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("shapes", [((2, 3), (2, 3), (2, 3)), ((2, 3), (2, 1), (3,)), ((1, 3), (2, 3), ()), ((2, 3), (2, 3), (4, 1, 1))])
@pytest.mark.parametrize("density", ["log_prob_elementwise", "log_prob"])
def test_first_and_second_derivatives_of_the_gaussian_density(shapes, density):
    source = seeded("cpu", 5)
    parameters = [torch.rand(shape, generator=source, dtype=torch.float64) + 0.5 for shape in shapes]
    for parameter in parameters:
        parameter.requires_grad_()

    def log_density(value, mean, variance):
        return getattr(Gaussian(mean, variance), density)(value)

    assert torch.autograd.gradcheck(log_density, parameters)
    assert torch.autograd.gradgradcheck(log_density, parameters)
    once, again = (torch.autograd.grad(log_density(*parameters).sum(), parameters, create_graph=twice) for twice in (False, True))
    torch.testing.assert_close(once, again)
    for alone in range(3):
        parts = [parameter.detach() for parameter in parameters]
        parts[alone].requires_grad_()
        assert torch.autograd.gradcheck(log_density, parts)


def test_gaussian_density_of_a_row_is_the_sum_over_its_elements():
    source = seeded("cpu", 6)
    value, mean, variance = (torch.rand(4, 2, 3, generator=source, dtype=torch.float64) + 0.1 for _ in range(3))
    for v in (variance, variance[:1], variance.mean()):
        law = Gaussian(mean, v)
        torch.testing.assert_close(law.log_prob(value), law.log_prob_elementwise(value).sum((1, 2)), rtol=1e-12, atol=1e-12)


@given(value=st.sampled_from([0.0, 1.0]), logit=st.floats(-80, 80))
def test_bernoulli_mass_is_that_of_torch(value, logit):
    found = Bernoulli(tensor(logit)).log_prob_elementwise(tensor(value))
    expected = reference.Bernoulli(logits=tensor(logit)).log_prob(tensor(value))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@given(value=reals, mean=reals, variance=positives, target=reals, rate=st.floats(0, 1))
def test_infused_density_is_the_mixture_of_torch(value, mean, variance, target, rate):
    found = Infused(Gaussian(tensor(mean), tensor(variance)), Gaussian(tensor(target), tensor(0.01)), rate).log_prob(tensor(value))
    parts = reference.Normal(tensor(mean, target), tensor(variance, 0.01).sqrt())
    expected = (parts.log_prob(tensor(value)) + tensor(1 - rate, rate).log()).logsumexp(1)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shape", [(4,), (2, 3), (1, 4, 4)])
def test_log_prob_is_the_sum_over_the_elements_of_a_row(shape):
    value = torch.rand(5, *shape, generator=seeded("cpu", 0))
    for distribution in (Gaussian(value * 2, torch.tensor(0.5)), Bernoulli(value - 0.5), infused(value)):
        found = distribution.log_prob(value.round())
        assert found.shape == (5,)
        torch.testing.assert_close(found, distribution.log_prob_elementwise(value.round()).flatten(1).sum(1))


def infused(mean: torch.Tensor, rate: float = 0.3) -> Infused:
    return Infused(Gaussian(mean, torch.full_like(mean, 0.7)), Gaussian(mean + 1, torch.full_like(mean, 1e-2)), rate)


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.5, 1.0])
def test_infused_density_integrates_to_one(rate):
    grid = torch.linspace(-6, 6, 20_001, dtype=torch.float64)[:, None]
    distribution = infused(torch.zeros_like(grid), rate)
    assert float(torch.trapezoid(distribution.log_prob(grid).exp(), grid[:, 0])) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.5, 1.0])
@pytest.mark.parametrize("draw", ["sample", "rsample"])
def test_infused_draws_follow_its_density(rate, draw):
    """Kolmogorov-Smirnov: the largest gap of the distribution functions exceeds 2 / sqrt(n) with chance 7e-4."""
    drawn = getattr(infused(torch.zeros(N, 1, dtype=torch.float64), rate), draw)(seeded("cpu", 1))[:, 0].sort().values
    parts = [reference.Normal(0, math.sqrt(0.7)), reference.Normal(1, 0.1)]
    exact = (1 - rate) * parts[0].cdf(drawn) + rate * parts[1].cdf(drawn)
    rank = torch.arange(1, N + 1) / N
    assert float((rank - exact).abs().max()) < 2 / math.sqrt(N)


def test_infusion_is_decided_for_every_element_on_its_own():
    mean = torch.zeros(N, 2, dtype=torch.float64)
    near = Gaussian(mean + 10, torch.tensor(1e-4))
    taken = (Infused(Gaussian(mean, torch.tensor(1.0)), near, 0.3).sample(seeded("cpu", 2)) > 7).double()
    error = math.sqrt(0.3 * 0.7 / N)
    assert abs(float(taken.mean()) - 0.3) < 4 * error
    assert abs(float(taken.prod(1).mean()) - 0.09) < 4 * math.sqrt(0.09 * 0.91 / N)


def test_infusing_without_reparametrised_parts_has_no_gradient_draw():
    bits = Bernoulli(torch.zeros(2, 3))
    with pytest.raises(TypeError, match="Bernoulli"):
        Infused(bits, bits, 0.5).rsample()


@pytest.mark.parametrize(("mean", "variance"), [(0.0, 1.0), (-3.0, 0.01), (2.0, 9.0)])
@pytest.mark.parametrize("draw", ["sample", "rsample"])
def test_gaussian_draws_have_its_mean_and_variance(mean, variance, draw):
    where = torch.full((N, 1), mean, dtype=torch.float64)
    drawn = getattr(Gaussian(where, torch.tensor(variance).double()), draw)(seeded("cpu", 3))
    assert abs(float(drawn.mean()) - mean) < 4 * math.sqrt(variance / N)
    assert abs(float(drawn.var()) / variance - 1) < 4 * math.sqrt(2 / N)


@pytest.mark.parametrize("rate", [0.001, 0.4, 0.99])
def test_bernoulli_draws_have_its_rate(rate):
    drawn = Bernoulli(torch.full((N, 1), rate, dtype=torch.float64).logit()).sample(seeded("cpu", 4))
    assert set(drawn.unique().tolist()) <= {0.0, 1.0}
    assert abs(float(drawn.mean()) - rate) < 4 * math.sqrt(rate * (1 - rate) / N)


def test_sample_is_detached_and_rsample_is_the_same_draw_with_its_gradient():
    mean, variance = torch.zeros(3, 2, requires_grad=True), torch.ones(2, requires_grad=True)
    distribution = Gaussian(mean, variance)
    plain, kept = distribution.sample(seeded("cpu", 5)), distribution.rsample(seeded("cpu", 5))
    assert not plain.requires_grad
    torch.testing.assert_close(plain, kept.detach())
    kept.sum().backward()
    torch.testing.assert_close(mean.grad, torch.ones_like(mean))
    torch.testing.assert_close(variance.grad, 0.5 * plain.sum(0))


def test_straight_through_draws_are_those_of_bits_and_give_the_gradient_of_the_entropy():
    logits = torch.tensor([[-1.5, 0.2, 3.0]], dtype=torch.float64, requires_grad=True)
    found = torch.zeros_like(logits)
    for state in itertools.product([0.0, 1.0], repeat=3):
        distribution = StraightThrough(logits)
        distribution.sample = lambda source=None, state=state: tensor(*state)
        surprise = -distribution.log_prob(distribution.rsample())
        found += distribution.log_prob(tensor(*state)).exp().detach() * torch.autograd.grad(surprise, logits)[0]
    (exact,) = torch.autograd.grad(reference.Bernoulli(logits=logits).entropy().sum(), logits)
    torch.testing.assert_close(found, exact, rtol=1e-10, atol=1e-12)
    plain, kept = (draw(seeded("cpu", 5)) for draw in (Bernoulli(logits).sample, StraightThrough(logits).rsample))
    assert torch.equal(plain, kept.detach())
    assert kept.requires_grad


def test_infused_gradient_reaches_the_base_where_it_was_kept():
    mean = torch.zeros(1000, 1, requires_grad=True)
    drawn = Infused(Gaussian(mean, torch.tensor(1.0)), Gaussian(mean.detach() + 100, torch.tensor(1e-4)), 0.4).rsample(seeded("cpu", 6))
    drawn.sum().backward()
    torch.testing.assert_close(mean.grad, (drawn.detach() < 50).float())


@given(a=reals, b=reals, v=positives, w=positives)
def test_gaussian_divergence_is_that_of_torch(a, b, v, w):
    found = kl_divergence(Gaussian(tensor(a, b), tensor(v, w)), Gaussian(tensor(b, b), tensor(w, v)))
    expected = reference.kl_divergence(
        reference.Normal(tensor(a, b), tensor(v, w).sqrt()), reference.Normal(tensor(b, b), tensor(w, v).sqrt())
    ).sum(1)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)


@given(a=st.floats(-15, 15), b=st.floats(-15, 15))
def test_bernoulli_divergence_is_that_of_torch(a, b):
    found = kl_divergence(Bernoulli(tensor(a, b)), Bernoulli(tensor(b, b)))
    expected = reference.kl_divergence(reference.Bernoulli(logits=tensor(a, b)), reference.Bernoulli(logits=tensor(b, b))).sum(1)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize(
    ("q", "p"),
    [
        (Gaussian(torch.full((N, 2), 0.5).double(), torch.tensor([0.4, 2.0])), Gaussian(torch.zeros(N, 2).double(), torch.tensor(1.0))),
        (Bernoulli(torch.full((N, 2), 0.8).double()), Bernoulli(torch.tensor([-0.3, 1.0]).double().expand(N, 2))),
    ],
    ids=["gaussian", "bernoulli"],
)
def test_divergence_is_the_mean_of_the_log_ratio(q, p):
    drawn = q.sample(seeded("cpu", 7))
    ratio = q.log_prob(drawn) - p.log_prob(drawn)
    assert abs(float(ratio.mean() - kl_divergence(q, p)[0])) < 4 * float(ratio.std()) / math.sqrt(N)


def test_divergences_between_other_types_are_registered_or_refused(monkeypatch):
    class Shifted(Gaussian):
        pass

    q, p = Shifted(tensor(1.0), tensor(1.0)), Bernoulli(tensor(0.0))
    torch.testing.assert_close(kl_divergence(q, Gaussian(tensor(0.0), tensor(1.0))), tensor(0.5)[0])
    with pytest.raises(NotImplementedError, match="Shifted to Bernoulli"):
        kl_divergence(q, p)
    monkeypatch.setattr("chainkit.distributions.kl._RULES", {})
    register_kl(Shifted, Bernoulli)(lambda q, p: q.mean.sum(1))
    torch.testing.assert_close(kl_divergence(q, p), tensor(1.0)[0])


def test_wrapped_density_sums_over_the_row_and_draws_from_the_source_alone():
    inner = reference.Laplace(torch.zeros(4, 3), 1.0)
    state = torch.get_rng_state()
    first, second = Wrapped(inner).sample(seeded("cpu", 8)), Wrapped(inner).sample(seeded("cpu", 8))
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(Wrapped(inner).log_prob(first), inner.log_prob(first).sum(1))
    multivariate = reference.MultivariateNormal(torch.zeros(4, 3), torch.eye(3))
    torch.testing.assert_close(Wrapped(multivariate).log_prob(first), multivariate.log_prob(first))


def test_wrapped_distributions_cannot_be_drawn_row_by_row():
    inner = reference.Laplace(torch.zeros(2, 3), 1.0)
    with pytest.raises(ValueError, match="Laplace"):
        Wrapped(inner).sample(Rows([seeded("cpu", 0), seeded("cpu", 1)]))


@settings(max_examples=20)
@given(seed=st.integers(0, 2**31))
def test_draws_keep_the_type_of_the_parameters(seed):
    for dtype in (torch.float32, torch.float64):
        mean = torch.zeros(2, 3, dtype=dtype)
        for distribution in (Gaussian(mean, torch.ones_like(mean)), Bernoulli(mean), infused(mean)):
            assert distribution.sample(seeded("cpu", seed)).dtype == dtype
