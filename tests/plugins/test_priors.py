"""Priors: exact densities, what they are fitted to, and what they refuse."""

import subprocess
import sys

import pytest
import torch

from chainkit.capabilities import BinaryStates, RealStates
from chainkit.component import Context
from chainkit.data import Data, Summary
from chainkit.random import seeded
from chainkit_priors import BernoulliPrior, GaussianPrior, hooks
from chainkit_priors.bernoulli import build as build_bernoulli
from chainkit_priors.configs import BernoulliConfig, GaussianConfig
from chainkit_priors.gaussian import build as build_gaussian

MEAN = torch.tensor([[0.1, 0.2, 0.3], [0.4, 0.5, 0.9]])
VARIANCE = torch.tensor([[0.01, 0.02, 0.0], [0.1, 0.2, 0.05]])


def context(states=RealStates, mean=MEAN, variance=VARIANCE):
    return Context(data=Summary(shape=(2, 3), states=states, mean=mean, variance=variance))


def test_gaussian_log_prob_is_that_of_torch():
    prior = GaussianPrior(MEAN, VARIANCE + 0.1)
    value = torch.rand(5, 2, 3)
    expected = torch.distributions.Normal(MEAN, (VARIANCE + 0.1).sqrt()).log_prob(value).sum((1, 2))
    torch.testing.assert_close(prior(5).log_prob(value), expected)


def test_gaussian_draws_have_its_moments():
    draws = GaussianPrior(MEAN, VARIANCE + 0.1)(40_000).sample(seeded("cpu", 0))
    scale = (VARIANCE + 0.1) / 40_000
    assert draws.shape == (40_000, 2, 3)
    assert ((draws.mean(0) - MEAN).abs() < 4.5 * scale.sqrt()).all()
    assert ((draws.var(0) - VARIANCE - 0.1).abs() < 4.5 * (VARIANCE + 0.1) * (2 / 40_000) ** 0.5).all()


def test_parameters_of_a_prior_are_saved_and_not_trained():
    for prior in (GaussianPrior(MEAN, VARIANCE + 1), BernoulliPrior(MEAN)):
        assert not list(prior.parameters())
        assert prior.state_dict()
        assert all(value.dtype == torch.float64 for value in prior.double().state_dict().values())


def test_gaussian_is_fitted_per_dimension_with_its_floor():
    prior = build_gaussian(GaussianConfig(), context())
    torch.testing.assert_close(prior.mean, MEAN)
    torch.testing.assert_close(prior.variance, VARIANCE + 1e-5)


def test_pooled_gaussian_has_the_variance_of_all_elements_together():
    data = torch.rand(50, 2, 3, dtype=torch.float64) * torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    prior = GaussianPrior.fit(data, floor=0.0, per_dimension=False)
    torch.testing.assert_close(prior.mean, data.mean().expand(2, 3))
    torch.testing.assert_close(prior.variance, data.var(correction=0).expand(2, 3))


def test_fit_agrees_with_the_summary_of_the_same_data():
    data = torch.rand(64, 3)
    by_summary = build_gaussian(GaussianConfig(), Context(data=Data.of(data).summary))
    by_hand = GaussianPrior.fit(data)
    torch.testing.assert_close(by_summary.variance, by_hand.variance)
    torch.testing.assert_close(by_summary.mean, by_hand.mean)


def test_numbers_in_the_recipe_win_over_the_fit():
    prior = build_gaussian(GaussianConfig(variance=2.0), context())
    torch.testing.assert_close(prior.mean, MEAN)
    assert (prior.variance == 2).all()


def test_without_a_fit_the_gaussian_is_standard_and_the_bits_are_fair():
    prior = build_gaussian(GaussianConfig(fit=False), context())
    assert (prior.mean == 0).all()
    assert (prior.variance == 1).all()
    assert (build_bernoulli(BernoulliConfig(fit=False), context(BinaryStates))(1).mean == 0.5).all()


def test_gaussian_refuses_an_element_without_variance():
    with pytest.raises(ValueError, match="floor"):
        build_gaussian(GaussianConfig(floor=0.0), context())
    with pytest.raises(ValueError, match="shape"):
        GaussianPrior(torch.zeros(2), torch.ones(3))


def test_bernoulli_log_prob_is_that_of_torch_and_draws_are_bits():
    prior = BernoulliPrior(MEAN)
    draws = prior(30_000).sample(seeded("cpu", 1))
    expected = torch.distributions.Bernoulli(MEAN).log_prob(draws).sum((1, 2))
    torch.testing.assert_close(prior(30_000).log_prob(draws), expected, rtol=1e-5, atol=1e-5)
    assert ((draws.mean(0) - MEAN).abs() < 4.5 * (MEAN * (1 - MEAN) / 30_000).sqrt()).all()


def test_fitted_rates_keep_away_from_0_and_1():
    bits = torch.tensor([[0.0, 1.0, 1.0], [0.0, 1.0, 0.0]])
    torch.testing.assert_close(BernoulliPrior.fit(bits, margin=0.01)(1).mean, torch.tensor([[0.01, 0.99, 0.5]]))
    torch.testing.assert_close(BernoulliPrior.fit(bits, per_dimension=False)(1).mean, torch.full((1, 3), 0.5))
    built = build_bernoulli(BernoulliConfig(), context(BinaryStates, mean=torch.zeros(2, 3)))
    torch.testing.assert_close(built(1).mean, torch.full((1, 2, 3), 1e-3))


def test_a_rate_in_the_recipe_is_the_rate():
    torch.testing.assert_close(build_bernoulli(BernoulliConfig(rate=0.2), context(BinaryStates))(1).mean, torch.full((1, 2, 3), 0.2))


def test_bernoulli_refuses_what_is_no_rate():
    with pytest.raises(ValueError, match="rates"):
        BernoulliPrior(torch.tensor([1.2]))
    with pytest.raises(ValueError, match="margin"):
        BernoulliPrior(torch.tensor([0.5]), margin=0.0)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: GaussianConfig(variance=0.0),
        lambda: GaussianConfig(floor=-1.0),
        lambda: BernoulliConfig(rate=1.1),
        lambda: BernoulliConfig(margin=0.6),
    ],
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match="must be"):
        wrong()


def test_components_provide_what_their_distributions_are():
    built = {"gaussian": GaussianPrior(MEAN, VARIANCE + 1), "bernoulli": BernoulliPrior(MEAN)}
    for component in hooks.chainkit_priors():
        assert all(isinstance(built[component.name](2), capability) for capability in component.provided(None))


def test_listing_the_components_does_not_import_torch():
    program = "import chainkit_priors.hooks as h, sys; h.chainkit_priors(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False, env={"PYTHONPATH": ":".join(sys.path)}).returncode == 0
