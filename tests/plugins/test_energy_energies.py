"""Energies against sums and integrals of what defines them."""

import math

import pytest
import torch
from torch import nn

from chainkit.component import Context
from chainkit.distributions import Bernoulli, Gaussian
from chainkit.errors import DataError, RecipeError
from chainkit.host import load_plugins
from chainkit.network import Network
from chainkit.testing import tiny_data
from chainkit_energy import RBM, BlockGibbs, Energy, GaussianRBM, Gibbs, Hamiltonian, Langevin, Tilted
from chainkit_energy.enumerated import log_partition, settings
from chainkit_energy.tempering import tempered
from chainkit_priors import BernoulliPrior, GaussianPrior

HIDDEN = settings(4, torch.zeros((), dtype=torch.float64))


def scattered(module, scale=0.7):
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
    return module.double()


@pytest.fixture
def machine():
    return scattered(RBM((2, 3), 4))


@pytest.fixture
def real_machine():
    return scattered(GaussianRBM(torch.zeros(1), torch.ones(1), 4))


@pytest.fixture
def bits():
    return settings(6, torch.zeros((), dtype=torch.float64)).view(-1, 2, 3)


def joint(machine, v, h):
    """-E(v, h) for all pairs, [visible states, hidden states], as the formula has it."""
    v = v.flatten(1)
    if isinstance(machine, RBM):
        own, seen = v @ machine.visible_bias, v
    else:
        variance = machine.log_variance.exp()
        own, seen = -((v - machine.visible_bias).square() / (2 * variance)).sum(1), v / variance
    return own[:, None] + (h @ machine.hidden_bias)[None] + seen @ machine.weight.T @ h.T


GRID = torch.linspace(-40, 40, 80_001, dtype=torch.float64)[:, None]


def test_the_free_energy_sums_the_hidden_units_out(machine, bits):
    torch.testing.assert_close(-machine(bits), joint(machine, bits, HIDDEN).logsumexp(1))


def test_the_free_energy_of_gaussian_units_sums_the_hidden_units_out(real_machine):
    torch.testing.assert_close(-real_machine(GRID), joint(real_machine, GRID, HIDDEN).logsumexp(1))


def test_conditionals_are_those_of_the_joint_law(machine, bits):
    table = joint(machine, bits, HIDDEN)
    given_v = torch.stack([machine.hidden(bits).log_prob(h.expand(len(bits), -1)) for h in HIDDEN], 1)
    torch.testing.assert_close(given_v, table.log_softmax(1))
    given_h = torch.stack([machine.visible(HIDDEN).log_prob(v.expand(len(HIDDEN), 2, 3)) for v in bits])
    torch.testing.assert_close(given_h, table.log_softmax(0))


def test_conditionals_of_gaussian_units_are_those_of_the_joint_law(real_machine):
    table, width = joint(real_machine, GRID, HIDDEN), float(GRID[1] - GRID[0])
    density = table - table.logsumexp(0) - math.log(width)
    law = real_machine.visible(HIDDEN)
    for j in range(len(HIDDEN)):
        one = Gaussian(law.mean[j : j + 1].expand_as(GRID), law.variance[j : j + 1])
        near = density[:, j] > -200
        torch.testing.assert_close(one.log_prob(GRID)[near], density[near, j], atol=1e-6, rtol=1e-6)


def test_visible_units_are_summed_or_integrated_out_for_each_hidden_setting(machine, real_machine, bits):
    torch.testing.assert_close(machine.log_hidden_marginal(HIDDEN), joint(machine, bits, HIDDEN).logsumexp(0))
    width = math.log(GRID[1] - GRID[0])
    torch.testing.assert_close(real_machine.log_hidden_marginal(HIDDEN), joint(real_machine, GRID, HIDDEN).logsumexp(0) + width)


def test_the_partition_function_is_the_same_over_hidden_units_and_over_bits(machine, bits):
    exact = joint(machine, bits, HIDDEN).logsumexp((0, 1)).item()
    assert log_partition(machine, bits[0]) == pytest.approx(exact)
    assert log_partition(machine, bits[0], rows=5) == pytest.approx(exact)
    many = scattered(RBM((2, 3), 21), 0.2)
    assert log_partition(many, bits[0]) == pytest.approx((-many(bits)).logsumexp(0).item())


class Flat(Energy):
    """Every state is equally likely, and there are no hidden units to sum out."""

    def forward(self, state, condition=None):
        return torch.zeros(len(state))


def test_too_many_settings_are_refused():
    with pytest.raises(DataError, match="at most 20"):
        log_partition(RBM((21,), 21), torch.zeros(21))
    with pytest.raises(DataError, match="at most 20"):
        log_partition(GaussianRBM(torch.zeros(2), torch.ones(2), 21), torch.zeros(2), binary=False)
    with pytest.raises(DataError, match="at most 20"):
        log_partition(Flat(), torch.zeros(21))
    with pytest.raises(DataError, match="at most 20"):
        log_partition(Flat(), torch.zeros(1), binary=False)
    assert log_partition(Flat(), torch.zeros(4)) == pytest.approx(4 * math.log(2))


class Cubic(Network):
    """f_i(s) = c tanh(s_i^3)."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.7))

    def forward(self, state, k, condition=None):
        return (self.scale * (state**3).tanh(),)

    def bias_heads(self, biases):
        raise NotImplementedError


def test_a_tilted_prior_is_the_prior_where_the_network_is_silent():
    prior = GaussianPrior(torch.tensor([1.0, -1.0]), torch.tensor([2.0, 0.5]))
    energy = Tilted(prior, Cubic())
    state = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    tilt = 0.7 * (state**3).tanh().sum(1)
    torch.testing.assert_close(energy(state), -prior(5).log_prob(state) - tilt)


def test_the_gradient_can_be_trained_through():
    energy = Tilted(GaussianPrior(torch.zeros(1), torch.ones(1)), Cubic()).double()
    state = torch.tensor([[0.4], [-1.2]], dtype=torch.float64)
    gradient = energy.gradient(state)
    slope = 3 * state**2 * (1 - (state**3).tanh().square())
    torch.testing.assert_close(gradient, state - 0.7 * slope)
    (trained,) = torch.autograd.grad(gradient.sum(), energy.network.scale)
    torch.testing.assert_close(trained, -slope.sum())


def test_without_gradients_the_energys_own_is_still_there_and_leaves_no_graph():
    energy = Tilted(GaussianPrior(torch.zeros(1), torch.ones(1)), Cubic())
    with torch.no_grad():
        gradient = energy.gradient(torch.ones(2, 1))
    assert gradient.abs().min() > 0
    assert not gradient.requires_grad


@pytest.mark.parametrize("temperature", [1.0, 2.5, torch.tensor([1.0, 3.0, 10.0])])
def test_a_tempered_law_is_a_weighted_product(temperature):
    generator = torch.Generator().manual_seed(1)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    cases = [
        (Bernoulli(draw(3, 2)), Bernoulli(draw(3, 2)), settings(2, draw(1))),
        (Gaussian(draw(3, 2), draw(3, 2).exp()), Gaussian(draw(3, 2), draw(3, 2).exp()), draw(4, 2)),
    ]
    share = 1 / torch.as_tensor(temperature, dtype=torch.float64)
    for law, reference, values in cases:
        for given in (reference, None):
            found = torch.stack([tempered(law, temperature, given).log_prob(value.expand(3, 2)) for value in values])
            product = torch.stack([share * law.log_prob(value.expand(3, 2)) for value in values])
            if given is not None:
                product += torch.stack([(1 - share) * given.log_prob(value.expand(3, 2)) for value in values])
            torch.testing.assert_close(found - found[0], product - product[0])


def test_a_reference_of_another_kind_is_refused():
    with pytest.raises(TypeError, match="between a Bernoulli and a Gaussian"):
        tempered(Bernoulli(torch.zeros(1, 2)), 2.0, Gaussian(torch.zeros(1, 2), torch.ones(1, 2)))


def test_variances_of_gaussian_units_start_as_a_share_of_those_of_the_data():
    data = tiny_data((2,)).summary
    part = load_plugins(strict=True).part("energy", "rbm-gaussian", share=0.5, floor=0.1)
    found = Context(data=data).build(part).log_variance.exp()
    torch.testing.assert_close(found, 0.5 * (data.variance + 0.1).to(found))


def test_a_tilted_prior_of_a_recipe_has_one_head():
    data, prior = tiny_data((2,)).summary, GaussianPrior(torch.zeros(2), torch.ones(2))
    part = load_plugins(strict=True).part("energy", "tilted", network={"type": "mlp", "hidden": [3]})
    assert Context(data=data, prior=prior, steps=2).build(part)(torch.zeros(4, 2)).shape == (4,)


@pytest.mark.parametrize("norm", ["shared", "per-step"])
def test_a_tilted_prior_takes_no_network_that_normalises_over_its_batch(norm):
    data, prior = tiny_data((2,)).summary, GaussianPrior(torch.zeros(2), torch.ones(2))
    part = load_plugins(strict=True).part("energy", "tilted", network={"type": "mlp", "hidden": [3], "norm": norm})
    with pytest.raises(ValueError, match='set norm = "none"'):
        Context(data=data, prior=prior, steps=2).build(part)


def test_weights_start_small():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert RBM((1000,), 1000).weight.std().item() == pytest.approx(0.01, rel=4 / (2 * 1000**2) ** 0.5)


def test_a_machine_starts_at_the_rates_of_the_data():
    machine = RBM((2, 2), 3)
    machine.start_at(torch.tensor([[0.2, 0.5], [0.0, 1.0]]))
    rates = machine.visible(torch.zeros(1, 3)).mean
    torch.testing.assert_close(rates, torch.tensor([[[0.2, 0.5], [0.01, 0.99]]]))


@pytest.mark.parametrize(
    "make",
    [
        lambda: RBM((2,), 0),
        lambda: GaussianRBM(torch.zeros(2), torch.zeros(2), 3),
        lambda: Langevin(RBM((2,), 1), 0.0),
        lambda: Hamiltonian(RBM((2,), 1), 0.1, 0),
        lambda: Gibbs(RBM((2,), 1), 0),
        lambda: BlockGibbs(RBM((2,), 1), 0),
    ],
)
def test_what_is_out_of_range_is_refused(make):
    with pytest.raises(ValueError):
        make()


def test_block_gibbs_needs_hidden_units():
    tilted = Tilted(BernoulliPrior(torch.full((2,), 0.5)), Cubic())
    with pytest.raises(TypeError, match="hidden units, not Tilted"):
        BlockGibbs(tilted)
    with pytest.raises(RecipeError, match="energy: must be an energy with hidden units, which 'tilted' has not"):
        load_plugins(strict=True).part("operator", "block-gibbs", energy="tilted")
