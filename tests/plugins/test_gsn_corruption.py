"""Corruptions: their laws are normalised, are those of their draws, and follow from p(x) by enumeration."""

import itertools

import pytest
import torch

from chainkit.distributions import Bernoulli, Density, Gaussian
from chainkit.random import seeded
from chainkit.testing import check_distribution
from chainkit_gsn import GaussianNoise, Masking, SaltAndPepper
from chainkit_gsn.corruption import Corrupted, known_bits, known_reals

BITS = 3
STATES = torch.tensor(list(itertools.product([0.0, 1.0], repeat=BITS)), dtype=torch.float64)
LOGITS = torch.tensor([[-1.0, 0.3, 2.0]], dtype=torch.float64)

bit_corruptions = pytest.mark.parametrize("corruption", [SaltAndPepper(0.4), SaltAndPepper(0.0), Masking(0.3), Masking(0.9)], ids=str)


def channel(corruption):
    """C(x~ | x) as a matrix, rows x, columns x~, from the definition."""
    one = (1 - corruption.rate) * STATES + corruption.rate * corruption.ONES
    return torch.stack([(one * target + (1 - one) * (1 - target)).prod(1) for target in STATES], 1)


@bit_corruptions
def test_the_law_given_x_is_the_definition_and_normalised(corruption):
    found = torch.stack([corruption.law(known_bits(STATES)).log_prob(target.expand_as(STATES)).exp() for target in STATES], 1)
    torch.testing.assert_close(found, channel(corruption), atol=1e-14, rtol=0)
    torch.testing.assert_close(found.sum(1), torch.ones(len(STATES)).double(), atol=1e-14, rtol=0)


@bit_corruptions
def test_draws_given_x_follow_the_law(corruption):
    n, x = 20_000, STATES[5]
    drawn = corruption.corrupt(x.expand(n, -1), seeded("cpu", 1))
    frequency = torch.stack([(drawn == target).all(1).double().mean() for target in STATES])
    exact = channel(corruption)[5]
    assert ((frequency - exact).abs() <= 4.5 * (exact * (1 - exact) / n).sqrt()).all()


@bit_corruptions
def test_the_law_for_a_random_x_is_the_sum_over_x(corruption):
    clean = Bernoulli(LOGITS)
    weights = torch.stack([clean.log_prob(state[None]).exp().squeeze() for state in STATES])
    law = corruption.law(clean)
    found = torch.stack([law.log_prob(state[None]).exp().squeeze() for state in STATES])
    torch.testing.assert_close(found, weights @ channel(corruption), atol=1e-14, rtol=0)


@bit_corruptions
def test_the_law_is_exact_and_differentiable_at_extreme_logits(corruption):
    logits = torch.tensor([[-200.0, -40.0, 40.0, 200.0]], dtype=torch.float64, requires_grad=True)
    law = corruption.law(Bernoulli(logits))
    expected = (1 - corruption.rate) * logits.sigmoid() + corruption.rate * corruption.ONES
    torch.testing.assert_close(law.mean, expected, rtol=1e-12, atol=1e-300)
    (gradient,) = torch.autograd.grad(law.log_prob(torch.tensor([[0.0, 0.0, 1.0, 1.0]])).sum(), logits)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("corruption", [SaltAndPepper(0.4), Masking(0.3)], ids=str)
def test_rows_may_be_left_as_they_are(corruption):
    rows = torch.tensor([True, False])
    clean = Bernoulli(LOGITS.expand(2, -1))
    law = corruption.only(rows).law(clean)
    torch.testing.assert_close(law.mean[0], corruption.law(clean).mean[0])
    torch.testing.assert_close(law.mean[1], clean.mean[1])
    drawn = corruption.only(rows).corrupt(torch.ones(2, 500), seeded("cpu", 0))
    assert not drawn[0].all()
    assert drawn[1].all()


def test_gaussian_noise_adds_variances_and_keeps_the_mean():
    clean = Gaussian(LOGITS, torch.tensor(0.25).double())
    law = GaussianNoise(0.5).law(clean)
    assert isinstance(law, Gaussian)
    torch.testing.assert_close(law.mean, LOGITS)
    assert float(law.variance) == 0.5
    given = GaussianNoise(0.5).law(known_reals(LOGITS.expand(2, -1)))
    assert given.log_prob(LOGITS.expand(2, -1)) == pytest.approx(float(Gaussian(LOGITS, torch.tensor(0.25)).log_prob(LOGITS)))
    some = GaussianNoise(0.5).only(torch.tensor([True, False])).law(Gaussian(LOGITS.expand(2, -1), torch.full((2, 3), 0.25).double()))
    assert some.variance[:, 0].tolist() == [0.5, 0.25]


def test_draws_of_gaussian_noise_have_its_spread():
    drawn = GaussianNoise(0.5).corrupt(torch.zeros(40_000, 1).double(), seeded("cpu", 2))
    assert abs(float(drawn.mean())) < 4 * 0.5 / 200
    assert abs(float(drawn.std()) - 0.5) < 4 * 0.5 / 200 / 2**0.5


def test_replaced_real_values_can_be_drawn_and_state_no_density():
    law = SaltAndPepper(0.5).law(Gaussian(torch.full((2000, 1), 7.0), torch.tensor(0.01)))
    assert isinstance(law, Corrupted)
    assert not isinstance(law, Density)
    drawn = law.sample(seeded("cpu", 3))
    for share, expected in ((drawn == 0, 0.25), (drawn == 1, 0.25), (drawn > 6, 0.5)):
        assert abs(float(share.double().mean()) - expected) < 4.5 * (expected * (1 - expected) / 2000) ** 0.5


@bit_corruptions
def test_the_law_keeps_the_promises_of_distributions(corruption):
    check_distribution(corruption.law(Bernoulli(LOGITS.float().expand(3, -1))))
