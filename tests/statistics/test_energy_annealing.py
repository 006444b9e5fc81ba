"""Annealed importance sampling, forwards, backwards and both, against partition functions that are summed exactly."""

import math
from contextlib import nullcontext

import attrs
import pytest
import torch

from chainkit.batch import Batch
from chainkit.chain import Chain
from chainkit.data import Data
from chainkit.errors import DataError
from chainkit.log_weight import total_log_ratio
from chainkit.random import seeded
from chainkit.testing import tiny_chain, tiny_data
from chainkit_energy import AIS, RAISE, RBM, Annealed, Bidirectional, BlockGibbs, Enumerated, GaussianRBM, Gibbs, Hamiltonian
from chainkit_energy.ais import partition_weights
from chainkit_energy.annealing import annealed, stretched
from chainkit_energy.bidirectional import both_bounds
from chainkit_energy.enumerated import log_partition, settings
from chainkit_energy.tempering import tempered
from chainkit_estimators import Importance
from chainkit_estimators.importance import bootstrap, effective_size, log_mean_exp
from chainkit_priors import BernoulliPrior, GaussianPrior
from chainkit_walkback import HeatedProcess

DOUBLE = torch.zeros((), dtype=torch.float64)


def machine_chain(visible, hidden, steps, scale=1.0):
    """A machine with random weights, annealed from bits of unequal rates."""
    generator, machine = torch.Generator().manual_seed(7), RBM((visible,), hidden)
    with torch.no_grad():
        for parameter in machine.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
    prior = BernoulliPrior(torch.linspace(0.3, 0.6, visible, dtype=torch.float64))
    return Chain(prior, BlockGibbs(machine.double(), reference=prior), steps, temperature=Annealed())


def drawn_from(machine, visible, n=200, seed=1):
    """Exact draws from a machine, as data whose test split they are."""
    states = settings(visible, DOUBLE)
    chances = (-machine(states)).softmax(0).detach()
    return data_of(states[chances.multinomial(n, replacement=True, generator=seeded("cpu", seed))])


def data_of(values, binary=True):
    data = Data.of(values, test=values, binary=binary)
    data.to("cpu", torch.float64)
    return data


def mean_weight(weights):
    """log of the mean weight, and its standard error."""
    return log_mean_exp(weights), (1 / effective_size(weights) - 1 / len(weights)).sqrt()


def exact_mean(chain, data):
    values = data.split("test").values
    return (-chain.operator.energy(values)).mean().item() - log_partition(chain.operator.energy, values[0])


@pytest.fixture
def small():
    return machine_chain(3, 2, 4, 2.0)


@pytest.fixture
def large():
    return machine_chain(10, 6, 50, 1.5)


def annealed_law(chain, states, hidden):
    """log p_N of every state, by the transition matrices of all temperatures."""
    operator, rows = chain.operator, len(states)
    law = chain.prior(rows).log_prob(states).exp()
    for temperature in reversed(chain.temperatures()):
        up = tempered(operator.energy.hidden(states), temperature)
        down = tempered(operator.energy.visible(hidden), temperature, operator.reference(len(hidden)))
        given_v = torch.stack([up.log_prob(h.expand(rows, -1)) for h in hidden], 1).exp()
        given_h = torch.stack([down.log_prob(v.expand(len(hidden), -1)) for v in states], 1).exp()
        law = law @ given_v @ given_h
    return law.log().detach()


def test_temperatures_are_even_in_their_inverse_and_end_at_the_model():
    torch.testing.assert_close(1 / Annealed().values(4), torch.tensor([1.0, 0.75, 0.5, 0.25], dtype=torch.float64))
    torch.testing.assert_close(1 / Annealed(0.5).values(4), torch.tensor([1.0, 0.75, 0.5, 0.25], dtype=torch.float64).sqrt())
    with pytest.raises(ValueError, match="above 0"):
        Annealed(0)


@pytest.mark.parametrize("steps", [1, 5, 40])
def test_the_mean_weight_is_the_partition_function_however_few_the_temperatures(steps, small):
    weights = partition_weights(stretched(small, steps), 20_000, drawn_from(small.operator.energy, 3)("test"))
    estimate, error = mean_weight(weights)
    assert error < 0.1
    assert abs(estimate - log_partition(small.operator.energy, torch.zeros(3, dtype=torch.float64))) < 4.5 * error


def test_trajectories_and_single_sites_give_partition_functions_too():
    real = GaussianRBM(torch.tensor([0.5, -0.5]), torch.tensor([0.3, 0.5]), 4)
    with torch.no_grad():
        real.weight.copy_(torch.randn(4, 2, generator=torch.Generator().manual_seed(0)))
    prior = GaussianPrior(torch.zeros(2, dtype=torch.float64), torch.full((2,), 2.0, dtype=torch.float64))
    bits = machine_chain(3, 2, 10)
    chains = [
        Chain(prior, Hamiltonian(real.double(), 0.4, 3, prior), 10, temperature=Annealed()),
        Chain(bits.prior, Gibbs(bits.operator.energy, reference=bits.prior), 10, temperature=Annealed()),
    ]
    for chain, width in zip(chains, (2, 3), strict=True):
        like = torch.zeros(width, dtype=torch.float64)
        estimate, error = mean_weight(partition_weights(chain, 3000, data_of(like[None])("test")))
        assert error < 0.1
        assert abs(estimate - log_partition(chain.operator.energy, like)) < 4.5 * error


def test_samples_of_the_annealed_chain_follow_its_law(small):
    states = settings(3, DOUBLE)
    exact, n = annealed_law(small, states, settings(2, DOUBLE)).exp(), 20_000
    drawn, _ = annealed(small, n, source=seeded("cpu", 2))
    seen = (drawn @ torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)).long().bincount(minlength=8) / n
    assert ((seen - exact).abs() < 4.5 * (exact * (1 - exact) / n).sqrt()).all()


def test_walks_that_heat_from_data_average_to_the_law_of_the_annealed_chain(small):
    states = settings(3, DOUBLE)
    exact = annealed_law(small, states, settings(2, DOUBLE)).mean().item()
    found = RAISE(walks=4000).estimate(small, HeatedProcess(), data_of(states)("test"))
    assert found.error_walks < 0.05
    assert abs(found.value - exact) < 4.5 * found.error_walks
    one = RAISE(walks=1, steps=4).estimate(small, HeatedProcess(), data_of(states.repeat(200, 1))("test"))
    assert one.value + 4 * one.error_examples < exact


def test_reverse_annealing_is_importance_sampling_on_heated_walks(small):
    examples = drawn_from(small.operator.energy, 3, 20)("test")
    plain = Importance(walks=7).estimate(small, HeatedProcess(), examples)
    assert RAISE(walks=7).estimate(small, HeatedProcess(), examples).value == plain.value
    longer = RAISE(walks=7, steps=30).estimate(small, HeatedProcess(), examples)
    assert longer.value != plain.value
    assert longer.details["temperatures"] == 30
    assert "lower bound" in longer.meaning


def test_with_few_temperatures_the_exact_figure_lies_between_the_two(large):
    """AIS is too high and RAISE too low in expectation, here on examples of the machine itself."""
    data = drawn_from(large.operator.energy, 10)
    examples, exact = data("test"), log_partition(large.operator.energy, torch.zeros(10, dtype=torch.float64))
    found = log_mean_exp(partition_weights(stretched(large, 3), 5000, examples).view(1000, 5))
    assert exact - found.mean().item() > 4 * found.std().item() / 1000**0.5
    below = RAISE(steps=3, walks=2).estimate(large, HeatedProcess(), examples)
    assert exact_mean(large, data) - below.value > 4 * below.error_walks


def test_with_many_temperatures_both_reach_the_exact_figure(large):
    data = drawn_from(large.operator.energy, 10, 100)
    exact, examples = exact_mean(large, data), data("test")
    errors, missing = [], []
    for steps in (3, 300):
        above = AIS(steps=steps, chains=500).estimate(large, HeatedProcess(), examples)
        below = RAISE(steps=steps, walks=5).estimate(large, HeatedProcess(), examples)
        assert abs(above.value - exact) < 4.5 * above.error_walks
        errors.append(above.error_walks)
        missing.append(exact - below.value)
        assert missing[-1] > -4.5 * below.error_walks
    assert errors[1] < 0.3 * errors[0]
    assert abs(missing[1]) < 0.1 * missing[0]


def test_the_exact_log_probability_of_simulated_data_lies_between_both_bounds(small):
    """Of every simulated state log p_N is known; the bounds hold in expectation, and many walks close the gap."""
    examples = data_of(torch.zeros(1500, 3, dtype=torch.float64))("test")
    state, _ = annealed(small, 1500, source=examples.source(examples.index, "simulated"))
    law = annealed_law(small, settings(3, DOUBLE), settings(2, DOUBLE))
    exact = law[(state @ torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)).long()]
    gaps = []
    for walks in (1, 10):
        lower, upper = both_bounds(small, examples.index, walks, examples)
        below, above = exact - lower, upper - exact
        assert below.mean() > 4 * below.std() / 1500**0.5
        assert above.mean() > 4 * above.std() / 1500**0.5
        gaps.append((upper - lower).mean().item())
    assert gaps[1] < 0.4 * gaps[0]


def test_the_gap_is_reported_with_both_bounds_and_closes_with_the_temperatures(large):
    examples = data_of(torch.zeros(100, 10, dtype=torch.float64))("test")
    found = [Bidirectional(steps=steps, walks=3).estimate(large, HeatedProcess(), examples) for steps in (3, 100)]
    for estimate in found:
        assert estimate.value == pytest.approx(estimate.beside["upper bound"] - estimate.beside["lower bound"])
        assert estimate.value > -3 * estimate.error_examples
        assert not estimate.likelihood
        assert "simulated" in estimate.meaning
    assert found[1].value < 0.2 * found[0].value


def test_the_enumerated_figure_is_the_exact_one(large):
    data = drawn_from(large.operator.energy, 10)
    states = settings(10, DOUBLE)
    log_p = (-large.operator.energy(states)).log_softmax(0)
    place = (data.split("test").values @ 2.0 ** torch.arange(10, dtype=torch.float64)).long()
    found = Enumerated().estimate(large, HeatedProcess(), data("test"))
    assert found.value == pytest.approx(log_p[place].mean().item())
    assert found.error_examples == pytest.approx((log_p[place].std() / 200**0.5).item())
    assert found.error_walks is None


@pytest.mark.parametrize(("visible", "hidden", "fits"), [(21, 20, True), (20, 21, True), (21, 21, False)])
def test_sums_over_too_many_settings_are_refused_before_training(visible, hidden, fits):
    chain, examples = machine_chain(visible, hidden, 2), data_of(torch.zeros(5, visible, dtype=torch.float64))("test")
    with nullcontext() if fits else pytest.raises(DataError, match="at most 20 hidden units or bits"):
        Enumerated().check(chain, examples)


def test_the_error_of_annealing_is_about_the_relative_one_of_the_mean_weight(large):
    """To first order the squared error of log Z is Var(w) / (n mean(w)^2), with the unbiased variance, and its bias half of that."""
    estimator, examples = AIS(steps=40, chains=600), drawn_from(large.operator.energy, 10, 5)("test")
    weights = partition_weights(stretched(large, 40), 600, examples).exp()
    found = estimator.estimate(large, HeatedProcess(), examples)
    values = -large.operator.energy(examples.data.split("test").values)
    assert found.error_examples == pytest.approx((values.std() / len(values) ** 0.5).item())
    assert found.error_walks == pytest.approx((weights.var() / 600).sqrt().item() / weights.mean().item(), rel=0.25)
    assert abs(found.details["shortfall"] - found.error_walks**2 / 2) < 4 * found.error_walks / 100**0.5
    shortfall, squared = bootstrap(weights.log()[None].double(), examples.seed)
    assert (found.details["shortfall"], found.error_walks**2) == pytest.approx((shortfall.item(), squared.item()))


def test_the_errors_of_annealing_are_what_repetition_shows(large):
    data = drawn_from(large.operator.energy, 10, 5)
    found = [AIS(steps=20, chains=100).estimate(large, HeatedProcess(), data.examples("test", seed=seed)) for seed in range(40)]
    spread = torch.tensor([estimate.details["log_partition"] for estimate in found]).std().item()
    mean = sum(estimate.error_walks for estimate in found) / 40
    assert spread == pytest.approx(mean, rel=4 / math.sqrt(2 * 40))


@pytest.mark.parametrize(
    "estimator", [AIS(steps=3, chains=600), RAISE(steps=3, walks=300, max_rows=2000), Bidirectional(steps=3, walks=3, max_rows=60)]
)
def test_what_is_stopped_is_taken_up_piece_by_piece(estimator, small, stopped_and_taken_up):
    examples = drawn_from(small.operator.energy, 3, 40)("test")
    whole, resumed, pieces = stopped_and_taken_up(lambda examples: estimator.estimate(small, HeatedProcess(), examples), examples)
    assert resumed == whole
    assert pieces >= 2


@pytest.mark.parametrize("estimator", [AIS(chains=6), RAISE(walks=3), Bidirectional(walks=3), Enumerated()])
def test_figures_depend_neither_on_batch_mates_nor_on_memory(estimator, small):
    data = drawn_from(small.operator.energy, 3, 12)
    examples = data("test")
    whole = estimator.estimate(small, HeatedProcess(), examples)
    again = attrs.evolve(estimator, max_rows=5).estimate(small, HeatedProcess(), examples)
    alone = [estimator.estimate(small, HeatedProcess(), attrs.evolve(examples, index=index)).value for index in examples.index.split(1)]
    assert again.value == pytest.approx(whole.value, abs=1e-9)
    assert sum(alone) / 12 == pytest.approx(whole.value, abs=1e-9)


def test_as_many_chains_are_annealed_as_asked(small):
    weights = partition_weights(small, 600, drawn_from(small.operator.energy, 3)("test"))
    assert len(weights) == 600


def test_in_the_upper_bound_the_walk_that_made_the_data_takes_the_place_of_one(small):
    examples = data_of(torch.zeros(50, 3, dtype=torch.float64))("test")
    lower, upper = both_bounds(small, examples.index, 3, examples)
    state, exact = annealed(small, 50, source=examples.source(examples.index, "simulated"))
    batch = Batch(origin=state, rows=50).repeat(3)
    walk = HeatedProcess().walk(small, batch, source=examples.source(examples.index, "walks", rows=3), with_log_ratio=True)
    weights = total_log_ratio(walk).view(50, 3).exp()
    torch.testing.assert_close(lower.exp(), weights.mean(1))
    torch.testing.assert_close(upper.exp(), (exact.exp() + weights[:, 1] + weights[:, 2]) / 3)


def test_the_energy_is_evaluated_once_per_state(small, monkeypatch):
    calls, level = [], BlockGibbs.level

    def counted(self, state, condition=None):
        calls.append(len(state))
        return level(self, state, condition)

    monkeypatch.setattr(BlockGibbs, "level", counted)
    annealed(small, 7, source=seeded("cpu", 0))
    assert calls == [7] * (small.steps + 1)


def test_a_partition_function_that_few_chains_carry_is_reported():
    chain = machine_chain(10, 6, 2, 4.0)
    found = AIS(chains=100).estimate(chain, HeatedProcess(), drawn_from(chain.operator.energy, 10, 20)("test"))
    (warning,) = found.warnings
    assert f"{found.effective:.1f} of 100 annealed chains" in warning
    assert found.effective < 10


def test_labels_and_other_operators_are_refused(small):
    labelled = tiny_data((3,), binary=True, conditional=True)("test")
    for estimator in (AIS(), Enumerated()):
        with pytest.raises(DataError, match="labels"):
            estimator.estimate(small, HeatedProcess(), labelled)
    examples = tiny_data()("test")
    for estimator in (AIS(), RAISE(), Bidirectional(), Enumerated()):
        with pytest.raises(TypeError, match="TinyGaussian"):
            estimator.estimate(tiny_chain(), HeatedProcess(), examples)
