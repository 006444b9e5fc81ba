"""The operators of Variational Walkback: their formulas, where they start, what their recipes may say."""

import math

import pytest
import torch
from torch import nn

from chainkit import Component, Context, Network, Part
from chainkit.capabilities import NoiseLevel
from chainkit.data import Data
from chainkit_walkback import PrintedGaussian, WalkbackBernoulli, WalkbackGaussian
from chainkit_walkback.configs import BernoulliConfig, BoundConfig, GaussianConfig, GeometricConfig, PrintedGaussianConfig
from chainkit_walkback.hooks import chainkit_operators

SHAPE = (2, 3)


class Heads(Network):
    """Heads that are biases, plus as much of the state as ``weight`` says."""

    def __init__(self, heads, weight=0.0):
        super().__init__()
        self.weight = nn.Parameter(torch.full((heads,), weight))
        self.bias = nn.Parameter(torch.zeros(heads, *SHAPE))
        self.seen = []

    def forward(self, state, k, condition=None):
        self.seen.append((k, condition))
        weighted = (weight * state for weight in self.weight)
        return tuple(each + bias for each, bias in zip(weighted, self.bias, strict=True))

    @torch.no_grad()
    def bias_heads(self, biases):
        for own, bias in zip(self.bias, biases, strict=True):
            if bias is not None:
                own.copy_(bias)


class Narrow(Heads):
    """The same in bfloat16, as under autocast."""

    def forward(self, state, k, condition=None):
        return tuple(head.bfloat16() for head in super().forward(state, k, condition))


STATE = torch.tensor([[[0.0, 1.0, 1.0], [0.0, 0.0, 1.0]], [[1.0, 1.0, 0.0], [0.0, 1.0, 0.0]]])


def with_bias(network):
    network.bias_heads([torch.linspace(-1, 2, 6).view(SHAPE) * (i + 1) for i in range(len(network.bias))])
    return network


@pytest.mark.parametrize("temperature", [1.0, 3.0])
@pytest.mark.parametrize("alpha", [0.25, 1.0])
def test_bernoulli_is_equation_11(temperature, alpha):
    network = with_bias(Heads(1, weight=0.7))
    rate = WalkbackBernoulli(network, alpha)(STATE, 1).at(temperature).mean
    expected = (((1 - alpha) * STATE + alpha * (0.7 * STATE + network.bias[0])) / temperature).sigmoid()
    torch.testing.assert_close(rate, expected)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
@pytest.mark.parametrize("alpha", [0.25, 1.0])
def test_gaussian_has_the_mean_of_equation_12_and_a_variance_proportional_to_the_temperature(temperature, alpha):
    network = with_bias(Heads(2, weight=0.7))
    distribution = WalkbackGaussian(network, alpha, sigma0=0.3, sigma_min=0.01)(STATE, 1).at(temperature)
    mu, sigma = (0.7 * STATE + bias for bias in network.bias)
    torch.testing.assert_close(distribution.mean, (1 - alpha) * STATE + alpha * mu)
    torch.testing.assert_close(distribution.variance, temperature * (1e-4 + 0.09 * (1 + sigma.exp()).log().square()))


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_the_printed_gaussian_is_equations_12_and_13(temperature):
    network = with_bias(Heads(2, weight=0.7))
    distribution = PrintedGaussian(network, 0.25)(STATE, 1).at(temperature)
    mu, sigma = (0.7 * STATE + bias for bias in network.bias)
    torch.testing.assert_close(distribution.mean, 0.75 * STATE + 0.25 * mu)
    torch.testing.assert_close(distribution.variance.sqrt(), (temperature * (1 + sigma.exp()).log()).sigmoid())


def test_the_printed_scale_never_falls_below_one_half():
    network = Heads(2)
    network.bias_heads([None, torch.full(SHAPE, -50.0)])
    distribution = PrintedGaussian(network)(STATE, 1).at(0.1)
    torch.testing.assert_close(distribution.variance, torch.full_like(STATE, 0.25))
    cap = distribution.log_prob(distribution.mean) / 6
    torch.testing.assert_close(cap, torch.full((2,), -0.2258), atol=1e-4, rtol=0)


def test_the_smallest_scale_keeps_the_density_finite():
    network = Heads(2)
    network.bias_heads([None, torch.full(SHAPE, -200.0)])
    distribution = WalkbackGaussian(network, sigma_min=1e-3)(STATE, 1).at()
    torch.testing.assert_close(distribution.variance, torch.full_like(STATE, 1e-6))
    assert bool(distribution.log_prob(STATE).isfinite().all())


@pytest.mark.parametrize(("operator", "heads"), [(WalkbackBernoulli, 1), (WalkbackGaussian, 2), (PrintedGaussian, 2)])
def test_each_row_can_have_a_temperature_of_its_own(operator, heads):
    kernel = operator(with_bias(Heads(heads, weight=0.7)))(STATE, 1)
    both = kernel.at(torch.tensor([1.0, 4.0])).log_prob(STATE)
    torch.testing.assert_close(both, torch.stack([kernel.at(1.0).log_prob(STATE)[0], kernel.at(4.0).log_prob(STATE)[1]]))


@pytest.mark.parametrize(("operator", "heads"), [(WalkbackBernoulli, 1), (WalkbackGaussian, 2), (PrintedGaussian, 2)])
def test_distributions_are_float32_over_a_bfloat16_network_and_stay_float64(operator, heads):
    assert operator(Narrow(heads))(STATE, 1).at(2.0).log_prob(STATE).dtype == torch.float32
    assert operator(Heads(heads).double())(STATE.double(), 1).at(2.0).log_prob(STATE.double()).dtype == torch.float64


@pytest.mark.parametrize(("operator", "heads"), [(WalkbackBernoulli, 1), (WalkbackGaussian, 2), (PrintedGaussian, 2)])
def test_step_and_condition_reach_the_network(operator, heads):
    network, condition = Heads(heads), torch.tensor([1, 2])
    operator(network)(STATE, 4, condition)
    assert network.seen == [(4, condition)]


@pytest.mark.parametrize(("operator", "heads"), [(WalkbackBernoulli, 1), (WalkbackGaussian, 2), (PrintedGaussian, 2)])
@pytest.mark.parametrize("alpha", [0.0, -0.1, 1.1])
def test_an_alpha_outside_its_range_is_refused(operator, heads, alpha):
    with pytest.raises(ValueError, match="alpha"):
        operator(Heads(heads), alpha)


@pytest.mark.parametrize("scales", [{"sigma0": 0.0}, {"sigma_min": -1.0}])
def test_impossible_scales_are_refused(scales):
    with pytest.raises(ValueError, match="sigma"):
        WalkbackGaussian(Heads(2), **scales)


def built(name, config_class, data, **settings):
    network = Component(name="heads", config=BernoulliConfig, build=lambda config, context: Heads(context.heads))
    part = Part(kind="network", component=network, config=None, path="network")
    component = next(component for component in chainkit_operators() if component.name == name)
    return component.make(config_class(network=part, **settings), Context(data=data.summary, steps=3))


def test_bernoulli_starts_at_the_rates_of_the_data():
    values = torch.zeros(100, *SHAPE)
    values[:20] = 1.0
    values[:, 0, 0], values[:, 0, 1] = 0.0, 1.0
    operator = built("walkback-bernoulli", BernoulliConfig, Data.of(values, binary=True), alpha=0.3)
    logits = operator(values, 1).logits.mean(0)
    expected = torch.full(SHAPE, math.log(0.2 / 0.8))
    expected[0, 0] = math.log(0.01 / 0.99) - 0.7 * 0.01  # clamped; its own state is always zero
    expected[0, 1] = math.log(0.99 / 0.01) + 0.7 * 0.01  # and this one's always one
    torch.testing.assert_close(logits, expected)


def test_gaussian_starts_at_the_mean_of_the_data_and_its_stated_noise_level():
    values = torch.linspace(-3, 5, 600).view(100, *SHAPE)
    operator = built("walkback-gaussian", GaussianConfig, Data.of(values), alpha=0.3, sigma0=0.4, sigma_min=0.1)
    distribution = operator(values, 1).at(2.0)
    torch.testing.assert_close(distribution.mean.mean(0), values.mean(0))
    config = GaussianConfig(sigma0=0.4, sigma_min=0.1)
    assert isinstance(config, NoiseLevel)
    assert config.noise_variance == pytest.approx(0.17)
    torch.testing.assert_close(distribution.variance, torch.full_like(values, 2 * config.noise_variance))


def test_the_printed_gaussian_starts_at_the_mean_of_the_data_and_states_no_noise_level():
    values = torch.linspace(-3, 5, 600).view(100, *SHAPE)
    operator = built("walkback-gaussian-printed", PrintedGaussianConfig, Data.of(values))
    torch.testing.assert_close(operator(values, 1).mean.mean(0), values.mean(0))
    assert not isinstance(PrintedGaussianConfig(), NoiseLevel)


@pytest.mark.parametrize(
    ("config", "settings"),
    [
        (BernoulliConfig, {"alpha": 0.0}),
        (GaussianConfig, {"alpha": 1.5}),
        (GaussianConfig, {"sigma0": 0.0}),
        (GaussianConfig, {"sigma_min": -0.1}),
        (PrintedGaussianConfig, {"alpha": -1.0}),
        (GeometricConfig, {"ratio": 0.0}),
        (GeometricConfig, {"start": -1.0}),
        (BoundConfig, {"walks": 0}),
        (BoundConfig, {"baseline": "example"}),
    ],
)
def test_impossible_settings_are_refused_where_the_recipe_is_read(config, settings):
    with pytest.raises(ValueError, match=r"must be|needs"):
        config(**settings)
