"""The infusion chain: its order, its rates, its cost, and log q by hand."""

import itertools
import math

import pytest
import torch
from torch import nn

from chainkit import Batch, Chain, TransitionOperator
from chainkit.capabilities import Distribution, Factorial
from chainkit.distributions import Gaussian, Infused
from chainkit.kernel import GaussianKernel, UntemperedKernel
from chainkit.random import Rows, seeded
from chainkit.schedule import Schedule
from chainkit.transition import total_log_ratio
from chainkit_infusion import IncreasingRate, InfusionProcess, NearBits, NearGaussian
from chainkit_priors import GaussianPrior


class Shrink(TransitionOperator):
    """p(s_{k-1} | s_k) = N(s_k / (k + 1), 0.04 k), counted."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, state, k, condition=None):
        self.seen.append((k, condition))
        return GaussianKernel(state / (k + 1), torch.full_like(state, 0.04 * k))


class Learned(Schedule):
    def __init__(self, value):
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def values(self, steps):
        return self.value.expand(steps)


class Fixed(Schedule):
    def __init__(self, *numbers):
        super().__init__()
        self.numbers = numbers

    def values(self, steps):
        return torch.tensor(self.numbers[:steps], dtype=torch.float64)


def make(steps=4, operator=None, temperature=None, dim=3):
    prior = GaussianPrior(torch.zeros(dim, dtype=torch.float64), torch.ones(dim, dtype=torch.float64))
    return Chain(prior, operator or Shrink(), steps, temperature=temperature)


def batch(rows=6, dim=3):
    return Batch.of(torch.rand(rows, dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64))


def test_increasing_rate_counts_from_its_first_value_and_stops_at_1():
    torch.testing.assert_close(IncreasingRate(0.01).values(3), torch.tensor([0.0, 0.01, 0.02], dtype=torch.float64))
    torch.testing.assert_close(IncreasingRate(0.4, 0.3).values(4), torch.tensor([0.3, 0.7, 1.0, 1.0], dtype=torch.float64))


def test_a_walk_comes_from_noise_and_ends_at_x():
    chain, examples = make(), batch()
    walk = list(InfusionProcess(IncreasingRate(0.1)).walk(chain, examples, source=seeded("cpu", 0)))
    assert [step.k for step in walk] == [4, 3, 2, 1]
    assert all(step.steps == 4 and step.weight == 1 and step.log_ratio is None for step in walk)
    for step, after in itertools.pairwise(walk):
        assert step.previous is after.state
    assert walk[-1].previous is examples.origin
    assert all(step.origin is examples.origin for step in walk)


@pytest.mark.parametrize("with_log_ratio", [False, True])
def test_a_walk_costs_k_network_evaluations(with_log_ratio):
    chain = make(steps=5)
    list(InfusionProcess(IncreasingRate(0.1)).walk(chain, batch(), source=seeded("cpu", 0), with_log_ratio=with_log_ratio))
    assert [k for k, _ in chain.operator.seen] == [5, 4, 3, 2, 1]


def test_the_condition_reaches_the_operator_and_the_transitions():
    chain, labels = make(), torch.arange(6)
    walk = list(InfusionProcess(IncreasingRate()).walk(chain, Batch.of(batch().origin, labels)))
    assert all(condition is labels for _, condition in chain.operator.seen)
    assert all(step.condition is labels for step in walk)


def test_s_k_is_drawn_at_the_rate_of_its_paper_time():
    examples, rate = batch(4000, 5), Fixed(0.0, 0.3, 1.0)
    walk = InfusionProcess(rate, NearGaussian(1e-10)).walk(make(steps=3, dim=5), examples, source=seeded("cpu", 0))
    infused = {step.k: ((step.state - examples.origin).abs() < 1e-4).double().mean().item() for step in walk}
    assert infused[3] < 1e-3
    assert abs(infused[2] - 0.3) < 4 * math.sqrt(0.3 * 0.7 / 20_000) + 1e-3
    assert infused[1] == 1.0


def test_rates_are_rounded_to_what_sixteen_random_bits_can_tell():
    rates = InfusionProcess(IncreasingRate(0.01, 0.3)).rates(4)
    assert [rate * 2**16 % 1 for rate in rates] == [0] * 4
    assert rates == pytest.approx([0.3, 0.31, 0.32, 0.33], abs=2**-17)
    assert InfusionProcess(Fixed(0.0, 1.0)).rates(2) == [0, 1]


def test_log_ratio_of_every_step_is_the_difference_of_the_two_mixtures():
    chain, examples, rates = (
        make(temperature=Fixed(1.0, 1.5, 2.0, 3.0)),
        batch(),
        [round(rate * 2**16) / 2**16 for rate in (0.1, 0.2, 0.3, 0.4)],
    )
    process = InfusionProcess(IncreasingRate(0.1, 0.1), NearGaussian(0.01))
    near = Gaussian(examples.origin, torch.tensor(0.01))

    def log_q(model, value, rate):
        each = (1 - rate) * model.log_prob_elementwise(value).exp() + rate * near.log_prob_elementwise(value).exp()
        return each.log().sum(1)

    for step in process.walk(chain, examples, source=seeded("cpu", 3), with_log_ratio=True):
        reverse = GaussianKernel(step.state / (step.k + 1), torch.full_like(step.state, 0.04 * step.k)).at([1.0, 1.5, 2.0, 3.0][step.k - 1])
        expected = reverse.log_prob(step.previous)
        if step.k > 1:
            expected -= log_q(reverse, step.previous, rates[4 - step.k + 1])
        if step.k == 4:
            prior = chain.prior(6)
            expected += prior.log_prob(step.state) - log_q(prior, step.state, rates[0])
        torch.testing.assert_close(step.log_ratio, expected)


def test_without_infusion_log_w_is_the_likelihood_of_x_given_s_1():
    process = InfusionProcess(IncreasingRate(0.0))
    *_, last = process.walk(make(), batch(), source=seeded("cpu", 0), with_log_ratio=True)
    total = total_log_ratio(process.walk(make(), batch(), source=seeded("cpu", 0), with_log_ratio=True))
    torch.testing.assert_close(total, last.reverse.log_prob(batch().origin), rtol=0, atol=0)


def test_densities_are_not_computed_unless_asked_for():
    class Blind(Factorial):
        def sample(self, source=None):
            return torch.zeros(6, 3, dtype=torch.float64)

        def log_prob_elementwise(self, value):
            raise AssertionError("a density was computed")

        log_prob = log_prob_elementwise

    class BlindOperator(TransitionOperator):
        def forward(self, state, k, condition=None):
            return UntemperedKernel(Blind())

    process, chain = InfusionProcess(IncreasingRate(0.1, 0.1)), make(operator=BlindOperator())
    assert len(list(process.walk(chain, batch()))) == 4
    with pytest.raises(AssertionError, match="density"):
        list(process.walk(chain, batch(), with_log_ratio=True))


def test_states_are_detached_unless_the_path_gradient_is_wanted():
    class Trained(Shrink):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(0.5, dtype=torch.float64))

        def forward(self, state, k, condition=None):
            return GaussianKernel(self.scale * state, self.scale.square())

    process, chain = InfusionProcess(IncreasingRate(0.1)), make(operator=Trained())
    assert not any(step.state.requires_grad for step in process.walk(chain, batch()))
    states = [step.state for step in process.walk(chain, batch(), path_gradient=True)]
    assert [state.requires_grad for state in states] == [False, True, True, True]


def test_the_walk_of_an_example_does_not_depend_on_its_batch_mates():
    process, examples = InfusionProcess(IncreasingRate(0.1, 0.1)), batch()
    together = total_log_ratio(process.walk(make(), examples, source=Rows([seeded("cpu", i) for i in range(6)]), with_log_ratio=True))
    for i in range(6):
        alone = process.walk(make(), Batch.of(examples.origin[i : i + 1]), source=Rows([seeded("cpu", i)]), with_log_ratio=True)
        torch.testing.assert_close(total_log_ratio(alone), together[i : i + 1], rtol=0, atol=0)


def test_an_operator_that_is_no_product_over_elements_is_refused_by_name():
    class Opaque(Distribution):
        def sample(self, source=None):
            return torch.zeros(6, 3)

    class OpaqueOperator(TransitionOperator):
        def forward(self, state, k, condition=None):
            return UntemperedKernel(Opaque())

    with pytest.raises(TypeError, match=r"Factorial.*OpaqueOperator gives Opaque"):
        list(InfusionProcess(IncreasingRate()).walk(make(operator=OpaqueOperator()), batch()))


def test_a_rate_must_be_fixed_and_a_probability():
    with pytest.raises(ValueError, match="learned"):
        InfusionProcess(Learned(0.1)).rates(3)
    with pytest.raises(ValueError, match=r"0\.5\.\.2"):
        InfusionProcess(Fixed(0.5, 1.0, 2.0)).rates(3)


def test_bits_near_x_are_turned_over_at_the_stated_rate():
    bits = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(NearBits(0.1)(bits).mean, torch.tensor([[0.1, 0.9]], dtype=torch.float64))


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_the_mixture_integrates_to_1(rate):
    grid = torch.linspace(-8, 8, 20_001, dtype=torch.float64)[:, None]
    mixture = Infused(Gaussian(grid.new_zeros(1), grid.new_tensor([0.8])), Gaussian(grid.new_tensor([0.7]), grid.new_tensor(1e-4)), rate)
    assert torch.trapezoid(mixture.log_prob(grid).exp(), grid[:, 0]).item() == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_log_base_ratio_is_the_difference_of_the_log_densities(rate):
    base, target = Gaussian(torch.zeros(4, 2).double(), torch.tensor(1.0)), Gaussian(torch.ones(4, 2).double(), torch.tensor(0.1))
    value = torch.linspace(-3, 3, 8, dtype=torch.float64).view(4, 2)
    mixture = Infused(base, target, rate)
    torch.testing.assert_close(mixture.log_base_ratio(value), base.log_prob(value) - mixture.log_prob(value))
