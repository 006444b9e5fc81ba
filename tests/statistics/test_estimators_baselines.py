"""The factorial baseline and the prior gap, against what is known of the data."""

import math
import subprocess
import sys

import attrs
import pytest
import torch

from chainkit import Chain, Estimator, ForwardProcess, Transition, TransitionOperator
from chainkit.capabilities import Marginals
from chainkit.component import Context
from chainkit.data import Data, Split
from chainkit.distributions import Bernoulli, Gaussian
from chainkit.errors import DataError
from chainkit.host import load_plugins
from chainkit.kernel import GaussianKernel
from chainkit.preparation import Preparation, Unprepared
from chainkit.random import uniform
from chainkit.testing.surroundings import part_of
from chainkit_estimators import Factorial, Optimum, PriorGap, hooks
from chainkit_estimators.factorial import GRID, FactorialModel, Moments, fit_factorial, held_out
from chainkit_estimators.prior_gap import divergence, walk_to_the_end
from chainkit_priors import BernoulliPrior, GaussianPrior


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def gaussian(n, dim=4, seed=0):
    return torch.randn(n, dim, generator=generator(seed)) * torch.arange(1.0, dim + 1) + 2


class Counted(TransitionOperator):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, state, k, condition=None):
        self.calls += 1
        return GaussianKernel(state, torch.ones_like(state))


def chain(dim=4, prior=None, steps=3):
    return Chain(prior or GaussianPrior(torch.zeros(dim), torch.ones(dim)), Counted(), steps)


class Ending(ForwardProcess):
    """A walk from noise whose first state is N(x_i shift, variance)."""

    def __init__(self, keep=0.0, shift=0.0, variance=1.0):
        super().__init__()
        self.keep, self.shift, self.variance = keep, shift, variance

    def end(self, origin):
        return Gaussian(self.keep * origin + self.shift, torch.full_like(origin, self.variance))

    def walk(self, chain, batch, *, source=None, path_gradient=False, with_log_ratio=False):
        state = self.end(batch.origin).sample(source)
        for k in range(chain.steps, 0, -1):
            reverse = chain.operator(state, k).at()
            yield Transition(k=k, steps=chain.steps, state=state, previous=None, origin=batch.origin, reverse=reverse)


class BinaryEnding(Ending, Marginals):
    """s_K are bits of a rate, known at once."""

    def marginal(self, origin, k):
        return Bernoulli(torch.full_like(origin, self.variance).logit())

    def walk(self, chain, batch, **rest):
        raise AssertionError("the walk was taken")


# Factorial baseline


def test_the_baseline_is_the_density_of_the_fitted_gaussian():
    train, test = gaussian(5000), gaussian(300, seed=1)
    estimate = Factorial().estimate(chain(), Ending(), Data.of(train, valid=gaussian(500, seed=2), test=test).examples("test"))
    fitted = torch.distributions.Normal(train.double().mean(0), train.double().std(0, correction=0))
    each = fitted.log_prob(test.double()).sum(1)
    assert estimate.value == pytest.approx(each.mean().item(), rel=1e-6)
    assert estimate.error_examples == pytest.approx(each.std().item() / 300**0.5, rel=1e-5)
    assert estimate.walks == 0
    assert estimate.error_walks is None
    assert "factorial Gaussian" in estimate.meaning


def test_the_baseline_is_the_mass_of_the_fitted_bits():
    rates = torch.tensor([0.1, 0.5, 0.9])
    train, test = ((torch.rand(4000, 3, generator=generator(seed)) < rates).float() for seed in (0, 1))
    estimate = Factorial().estimate(chain(3), Ending(), Data.of(train, test=test, binary=True).examples("test"))
    each = torch.distributions.Bernoulli(train.double().mean(0)).log_prob(test.double()).sum(1)
    assert estimate.value == pytest.approx(each.mean().item(), rel=1e-6)
    assert "factorial Bernoulli" in estimate.meaning
    assert "held-out tenth" in estimate.meaning


def test_the_floor_is_the_most_likely_of_the_grid_on_the_validation_split():
    train, valid, test = (
        torch.cat([gaussian(2000, 2, seed), spread * torch.ones(2000, 1)], 1) for seed, spread in ((0, 0.0), (1, 0.1), (2, 0.1))
    )
    estimate = Factorial().estimate(chain(3), Ending(), Data.of(train, valid=valid, test=test).examples("test"))
    mean, variance = train.double().mean(0), train.double().var(0, correction=0)
    scores = []
    for floor in GRID:
        floored = variance.clamp(min=floor * variance.mean())
        scores.append(torch.distributions.Normal(mean, floored.sqrt()).log_prob(valid.double()).sum(1).mean().item())
    assert estimate.details["floor"] == GRID[scores.index(max(scores))]
    assert 1e-7 < estimate.details["floor"] < 0.1
    assert "validation split" in estimate.meaning


@pytest.mark.parametrize("binary", [False, True])
def test_the_mean_log_density_of_other_data_follows_from_its_moments(binary):
    fitted, other = ((values > 2).double() if binary else values.double() for values in (gaussian(300), gaussian(200, seed=5)))
    model = FactorialModel(moments=of(fitted), floor=1e-3, binary=binary, chosen_on="")
    assert model.mean_log_prob(of(other)) == pytest.approx(model(200).log_prob(other).mean().item())


def test_of_two_examples_one_is_held_out():
    split, apart, rest = held_out(Data.of(torch.zeros(2, 3)), None)
    assert split == "train"
    assert sorted([*apart.tolist(), *rest.tolist()]) == [0, 1]


def test_no_bit_is_surer_than_the_floor():
    rates = torch.tensor([0.0, 0.3, 1.0]).double()
    model = FactorialModel(moments=Moments(mean=rates, variance=rates * (1 - rates)), floor=0.05, binary=True, chosen_on="")
    torch.testing.assert_close(model(1).mean[0], torch.tensor([0.05, 0.3, 0.95]).double())


def of(values):
    return Moments(mean=values.mean(0), variance=values.var(0, correction=0))


def test_a_floor_is_never_chosen_on_the_examples_that_are_judged():
    train = torch.cat([gaussian(2000, 2), torch.zeros(2000, 1)], 1)
    data = Data.of(train, valid=train + torch.tensor([0.0, 0.0, 0.1]))
    on_valid, on_train = (Factorial().estimate(chain(3), Ending(), data.examples(split)) for split in ("valid", "train"))
    assert on_valid.details["floor"] == min(GRID) == pytest.approx(1e-7)
    assert max(GRID) == pytest.approx(0.1)
    assert len(GRID) == 13
    assert on_train.details["floor"] > min(GRID)


def test_a_bit_that_never_varies_in_training_keeps_a_finite_mass():
    train = torch.cat([torch.zeros(500, 1), (torch.rand(500, 1, generator=generator()) < 0.5).float()], 1)
    test = train.clone()
    test[0, 0] = 1.0
    estimate = Factorial().estimate(chain(2), Ending(), Data.of(train, test=test, binary=True).examples("test"))
    assert math.isfinite(estimate.value)


class Dequantised(Preparation):
    words, bin_width = "uniform noise of width 1", 1.0

    def __call__(self, raw, source):
        return raw.float() + uniform(raw.float(), source)


def test_the_baseline_of_an_example_does_not_depend_on_its_batch_mates():
    values = torch.randint(0, 9, (200, 3), generator=generator(), dtype=torch.uint8)
    data = Data("dice", {"train": Split(values=values), "test": Split(values=values[:40])}, Dequantised())
    examples = data.examples("test")
    whole = Factorial().estimate(chain(3), Ending(), examples)
    alone = [Factorial(max_rows=7).estimate(chain(3), Ending(), attrs.evolve(examples, index=examples.index[i : i + 1])) for i in range(40)]
    assert sum(estimate.value for estimate in alone) / 40 == pytest.approx(whole.value, rel=1e-12)
    assert alone[0].error_examples is None
    assert whole.preparation == "uniform noise of width 1"
    assert whole.bits_per_dim == pytest.approx(-whole.value / (3 * math.log(2)))
    assert whole.bits_per_dim == pytest.approx(math.log2(9), abs=0.4)


def test_the_factorial_model_can_be_drawn_from():
    data = Data.of(gaussian(4000), test=gaussian(10))
    draws = fit_factorial(data)(20_000).sample(generator())
    expected = gaussian(4000).double()
    assert ((draws.mean(0) - expected.mean(0)).abs() < 4.5 * expected.std(0) / 20_000**0.5).all()
    assert ((draws.std(0) / expected.std(0) - 1).abs() < 4.5 / 40_000**0.5).all()


# Optimum


def test_the_optimum_is_the_mean_log_density_of_the_data():
    values = gaussian(500)
    law = Gaussian(torch.full((500, 4), 2.0).double(), torch.arange(1.0, 5).double().square())
    split = {"train": Split(values=values), "test": Split(values=values[:100])}
    data = Data("known", split, Unprepared(), log_density=lambda x, _: Gaussian(law.mean[: len(x)], law.variance).log_prob(x))
    estimate = Optimum(max_rows=30).estimate(chain(), Ending(), data.examples("test"))
    each = law.log_prob(values.double())[:100]
    assert estimate.value == pytest.approx(each.mean().item())
    assert estimate.error_examples == pytest.approx(each.std().item() / 10)
    assert estimate.likelihood


def test_there_is_no_optimum_where_the_law_is_not_known():
    with pytest.raises(DataError, match="the law of tensors is not known"):
        Optimum().estimate(chain(), Ending(), Data.of(gaussian(10)).examples("train"))


# Prior gap


def closed_form(mean, variance, dim):
    return dim * 0.5 * (variance + mean**2 - 1 - math.log(variance))


def gap(process, n=4000, dim=4, seed=0, model=None, max_rows=4000):
    values = torch.randn(n, dim, generator=generator(9))
    return PriorGap(max_rows=max_rows).estimate(model or chain(dim), process, Data.of(values, test=values).examples("test", seed=seed))


def test_the_gap_of_a_gaussian_end_is_the_closed_form():
    estimate = gap(Ending(keep=0.0, shift=0.5, variance=0.7))
    assert abs(estimate.value - closed_form(0.5, 0.7, 4)) < 4 * estimate.error_examples
    assert estimate.error_examples < 0.05
    assert estimate.likelihood is False
    assert estimate.bits_per_dim is None
    assert estimate.warnings == ()


def test_the_gap_to_a_prior_that_is_not_standard_and_what_the_end_still_knows_of_x():
    n, mean, variance = 4000, 0.8, 0.6
    values = torch.randn(n, 4, generator=generator(9)) + 0.3
    model = chain(4, GaussianPrior(torch.full((4,), mean), torch.full((4,), variance)))
    examples = Data.of(values, test=values).examples("test")
    estimate = PriorGap().estimate(model, Ending(keep=0.0, shift=mean, variance=variance), examples)
    assert estimate.walks == 1
    assert abs(estimate.value) < 4 * estimate.error_examples < 0.1
    origin = values.double()
    forgotten = ((origin - mean).square().sum() + 4 * n * variance).item()
    found = walk_to_the_end(model, Ending(keep=1.0, variance=1e-12), examples, model.prior(1), 1000)
    assert found.forgotten == pytest.approx(forgotten)
    assert found.moved == pytest.approx(4 * n * 1e-12, rel=0.1)
    torch.testing.assert_close(found.total.sum(0), origin.sum(0), atol=1e-3, rtol=0)
    torch.testing.assert_close(found.square.sum(0), origin.square().sum(0), atol=1e-3, rtol=0)
    assert found.count.sum() == n


def test_what_is_left_of_x_in_the_end_counts_as_far_as_the_moments_show_it():
    estimate = gap(Ending(keep=0.6, variance=0.1))
    assert abs(estimate.value - closed_form(0.0, 0.36 + 0.1, 4)) < 4 * estimate.error_examples


def test_the_divergence_from_the_prior_is_the_closed_form():
    mean, variance = torch.tensor([[0.3, -1.0], [2.0, 0.0]]).double(), torch.tensor([[0.5, 2.0], [1.0, 3.0]]).double()
    centre, width = torch.tensor([[0.5, 1.0]]).double(), torch.tensor([[2.0, 0.7]]).double()
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(normal(mean, variance.sqrt()), normal(centre, width.sqrt())).sum(1)
    torch.testing.assert_close(divergence(Gaussian(centre, width), mean, variance), expected)
    rates, prior = torch.tensor([[0.3, 0.9], [0.0, 1.0]]).double(), torch.tensor([[0.2, 0.6]]).double()
    bits = torch.distributions.Bernoulli
    expected = torch.distributions.kl_divergence(bits(rates), bits(prior.expand_as(rates))).sum(1)
    torch.testing.assert_close(divergence(Bernoulli(prior.logit()), rates, rates * (1 - rates)), expected)


def test_walks_that_end_in_the_prior_have_no_gap_however_few_they_are():
    found = [gap(Ending(), n=100, dim=200, seed=seed, model=chain(200)) for seed in range(10)]
    for estimate in found:
        assert abs(estimate.value) < 4 * estimate.error_examples
        assert estimate.details["bias"] == pytest.approx(200 / 100, rel=0.3)
        assert "examples are few" in estimate.warnings[0]
    values = torch.tensor([estimate.value for estimate in found])
    assert abs(values.mean().item()) < 4 * values.std().item() / 10**0.5 + 0.05


def test_the_error_of_the_gap_is_what_repetition_shows():
    found = [gap(Ending(shift=0.5, variance=0.5), n=200, seed=seed) for seed in range(80)]
    spread = torch.tensor([estimate.value for estimate in found]).std().item()
    assert spread == pytest.approx(sum(estimate.error_examples for estimate in found) / 80, rel=4 / math.sqrt(2 * 80))
    mean = sum(estimate.value for estimate in found) / 80
    assert abs(mean - closed_form(0.5, 0.5, 4)) < 4 * spread / math.sqrt(80)


def test_bits_have_their_own_gap_and_need_no_walk_where_the_end_is_known():
    model = chain(4, BernoulliPrior(torch.full((4,), 0.5)))
    estimate = gap(BinaryEnding(variance=0.2), model=model)
    exact = 4 * (0.2 * math.log(0.4) + 0.8 * math.log(1.6))
    assert abs(estimate.value - exact) < 4 * estimate.error_examples
    assert estimate.details["bias"] == pytest.approx(4 / (2 * 4000), rel=1.0)
    assert model.operator.calls == 0
    values = torch.randn(4000, 4, generator=generator(9)).double()
    assert estimate.details["moved_if_forgotten"] == pytest.approx(((0.5 - values).square().mean().item() + 0.25) ** 0.5, rel=1e-9)


def test_bits_that_never_vary_have_a_finite_gap():
    estimate = gap(BinaryEnding(variance=0.0), model=chain(4, BernoulliPrior(torch.full((4,), 0.5))))
    assert estimate.value == pytest.approx(4 * math.log(2))


def test_the_walk_stops_as_soon_as_its_end_is_known():
    model = chain(steps=50)
    gap(Ending(), model=model)
    assert model.operator.calls == 1


def test_the_distance_from_x_stands_beside_the_gap():
    values = torch.randn(4000, 4, generator=generator(9))
    near, far = gap(Ending(keep=1.0, variance=0.01)), gap(Ending())
    assert near.details["moved"] == pytest.approx(0.1, rel=0.02)
    assert far.details["moved"] == pytest.approx(far.details["moved_if_forgotten"], rel=0.02)
    assert far.details["moved_if_forgotten"] == pytest.approx((1 + values.double().square().mean().item()) ** 0.5, rel=1e-9)


def test_the_gap_does_not_depend_on_memory():
    whole, parts = gap(Ending(0.3), n=250), gap(Ending(0.3), n=250, max_rows=17)
    assert parts.value == pytest.approx(whole.value, rel=1e-12)
    assert parts.error_examples == pytest.approx(whole.error_examples, rel=1e-12)


def test_the_gap_refuses_few_examples_and_other_priors():
    with pytest.raises(DataError, match="40 examples or more are needed, not 39"):
        gap(Ending(), n=39)

    class Mixture(GaussianPrior):
        def forward(self, rows):
            return torch.distributions.Laplace(0.0, 1.0)

    with pytest.raises(ValueError, match="Laplace"):
        gap(Ending(), model=chain(4, Mixture(torch.zeros(4), torch.ones(4))))


@pytest.mark.parametrize("name", [component.name for component in hooks.chainkit_estimators()])
def test_what_the_plugin_registers_builds_estimators(name):
    registry = load_plugins().registry
    part = part_of("estimator", registry.resolve("estimator", name), registry)
    try:
        estimator = Context().build(part)
    except DataError as absent:  # weights that are not on this machine
        pytest.skip(str(absent))
    assert isinstance(estimator, Estimator)


def test_listing_the_components_does_not_import_torch():
    program = "import chainkit_estimators.hooks as h, sys; h.chainkit_estimators(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False, env={"PYTHONPATH": ":".join(sys.path)}).returncode == 0
