"""Lower bound and importance sampling: against exact answers, and their errors against repetition."""

import itertools
import math

import attrs
import pytest
import torch
from torch import nn

from chainkit import Chain, ForwardProcess, Transition, TransitionOperator
from chainkit.data import Data
from chainkit.distributions import Gaussian
from chainkit.errors import NonFiniteError
from chainkit.kernel import GaussianKernel
from chainkit.random import normal
from chainkit.testing import tiny_data
from chainkit.transition import log_ratio_by_step
from chainkit_estimators import Importance, LowerBound
from chainkit_estimators.figures import jackknife_error, law, walked
from chainkit_estimators.importance import bootstrap, curve_points, log_mean_exp, with_walks
from chainkit_infusion import IncreasingRate, InfusionProcess, NearGaussian
from chainkit_priors import GaussianPrior

POINTS = torch.linspace(-2, 2, 24).view(12, 2)


class Affine(TransitionOperator):
    """p(s_{k-1} | s_k) = N(0.8 s_k + 0.1, 0.3)."""

    def forward(self, state, k, condition=None):
        return GaussianKernel(0.8 * state + 0.1, torch.full_like(state, 0.3))


def marginals(steps):
    """Mean and variance of s_K..s_0 of the affine chain from a standard normal."""
    moments = [(0.0, 1.0)]
    for _ in range(steps):
        mean, variance = moments[-1]
        moments.append((0.8 * mean + 0.1, 0.64 * variance + 0.3))
    return moments[::-1]


class ExactPosterior(ForwardProcess):
    """q(s_k | s_{k-1}) = p(s_k | s_{k-1}), by which log w is log p(x) for every walk."""

    def walk(self, chain, batch, *, source=None, path_gradient=False, with_log_ratio=False):
        previous, moments = batch.origin, marginals(chain.steps)
        for k in range(1, chain.steps + 1):
            mean, variance = moments[k]
            precision = 1 / variance + 0.64 / 0.3
            centre = (mean / variance + 0.8 * (previous - 0.1) / 0.3) / precision
            forward = Gaussian(centre, torch.full_like(centre, 1 / precision))
            state = forward.sample(source)
            reverse = chain.operator(state, k).at()
            share = reverse.log_prob(previous) - forward.log_prob(state)
            if k == chain.steps:
                share = share + chain.prior(batch.rows).log_prob(state)
            yield Transition(k=k, steps=chain.steps, state=state, previous=previous, origin=batch.origin, reverse=reverse, log_ratio=share)
            previous = state


class LogNormal(ForwardProcess):
    """One step with log w ~ N(x_1, spread^2): E[log w] = x_1 and log E[w] = x_1 + spread^2 / 2."""

    def __init__(self, spread):
        super().__init__()
        self.spread = spread

    def walk(self, chain, batch, *, source=None, path_gradient=False, with_log_ratio=False):
        share = batch.origin[:, 0] + self.spread * normal(batch.origin[:, 0], source)
        yield Transition(k=1, steps=1, state=batch.origin, previous=batch.origin, origin=batch.origin, reverse=None, log_ratio=share)


class Neural(TransitionOperator):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Dropout(0.5), nn.Linear(32, 4))
        for parameter in self.parameters():
            nn.init.normal_(parameter, 0, 0.4, generator=torch.Generator().manual_seed(0))
        self.dtypes = set()

    def forward(self, state, k, condition=None):
        mean, spread = self.layers(state).chunk(2, 1)
        self.dtypes.add(mean.dtype)
        return GaussianKernel(mean.float(), 0.05 + spread.float().sigmoid())


def chain(steps=4, operator=None):
    return Chain(GaussianPrior(torch.zeros(2), torch.ones(2)), operator or Affine(), steps)


def points(values=POINTS, seed=0):
    return Data.of(values, test=values).examples("test", seed=seed)


INFUSION = InfusionProcess(IncreasingRate(0.05, 0.05), NearGaussian(0.01))


def exact(values=POINTS, steps=4):
    mean, variance = marginals(steps)[0]
    return torch.distributions.Normal(mean, variance**0.5).log_prob(values.double()).sum(1)


def test_both_are_exact_and_without_error_where_the_walk_is_the_posterior():
    bound = LowerBound(walks=4).estimate(chain(), ExactPosterior(), points())
    importance = Importance(walks=8).estimate(chain(), ExactPosterior(), points())
    for estimate in (bound, importance):
        assert estimate.value == pytest.approx(exact().mean().item(), abs=1e-5)
        assert estimate.error_walks == pytest.approx(0, abs=1e-5)
        assert estimate.error_examples == pytest.approx(exact().std().item() / 12**0.5, rel=1e-4)
    assert importance.effective_min == pytest.approx(8, rel=1e-5)
    assert importance.warnings == ()


def test_importance_sampling_is_exact_within_its_error_and_the_bound_below_on_infusion_walks():
    importance = Importance(walks=3000).estimate(chain(), INFUSION, points())
    assert abs(importance.value - exact().mean().item()) < 4 * importance.error_walks
    assert importance.error_walks < 0.02
    bound = LowerBound(walks=300).estimate(chain(), INFUSION, points())
    assert bound.value + 4 * bound.error_walks < exact().mean().item()
    assert bound.value < importance.value


def test_the_curve_starts_at_the_bound_rises_and_ends_at_the_value():
    importance = Importance(walks=1000).estimate(chain(), INFUSION, points())
    curve, sizes, _ = (curve.points for curve in importance.curves)
    assert [walks for walks, _, _ in curve] == [walks for walks, _, _ in sizes] == [1, 3, 10, 30, 100, 300, 1000]
    for (_, value, error), (_, following, _) in itertools.pairwise(curve):
        assert following > value - 3 * error  # it rises in expectation; the longer estimates have fewer independent groups of walks
    assert [size for _, size, _ in sizes] == sorted(size for _, size, _ in sizes)
    assert sizes[0][1] == pytest.approx(1)
    assert sizes[-1][1] == pytest.approx(importance.effective)
    assert curve[0][1] == pytest.approx(LowerBound(walks=1000).estimate(chain(), INFUSION, points()).value)
    assert curve[-1][1:] == (importance.value, pytest.approx(importance.error_walks))


def test_sizes_over_examples_are_drawn_from_the_smallest_to_the_largest():
    importance = Importance(walks=50).estimate(chain(), INFUSION, points())
    shares, found, _ = zip(*importance.curves[2].points, strict=True)
    assert shares == pytest.approx([number / 20 for number in range(21)])
    assert found[0] == pytest.approx(importance.effective_min)
    assert list(found) == sorted(found)
    assert found[-1] > found[0]


def test_the_error_of_a_point_of_the_curve_is_that_between_its_groups_of_walks():
    weights = torch.tensor([[0.0, 1.0, 3.0, 2.0, 5.0]], dtype=torch.float64)
    pairs = weights[:, :4].view(2, 2).logsumexp(1) - math.log(2)
    value, squared, effective = with_walks(weights, 2, torch.tensor([9.0]))[0]
    assert value == pytest.approx(pairs.mean().item())
    assert squared == pytest.approx((pairs[0] - pairs[1]).square().item() / 4)
    shares = weights[:, :4].view(2, 2).softmax(1)
    assert effective == pytest.approx((1 / shares.square().sum(1)).mean().item())
    assert with_walks(weights, 3, torch.tensor([9.0], dtype=torch.float64))[0, 1] == 9


def test_the_jackknife_of_a_mean_is_its_standard_error():
    values = torch.tensor([1.0, 4.0, 2.0, 7.0, 5.0], dtype=torch.float64)
    left_out = [(values.sum() - value).item() / 4 for value in values]
    assert jackknife_error(left_out) == pytest.approx((values.std() / 5**0.5).item())


def test_what_is_estimated_is_said_with_what_it_is_given():
    assert law(tiny_data()) == "log p(x)"
    assert law(tiny_data(conditional=True)) == "log p(x | class)"


def test_of_figures_that_are_better_lower_the_merit_falls():
    figure = LowerBound(walks=1).estimate(chain(1), LogNormal(1.0), points(torch.zeros(2, 2)))
    assert figure.merit == figure.value
    assert attrs.evolve(figure, lower_is_better=True).merit == -figure.value != 0


def test_curve_points_end_at_the_number_of_walks():
    assert curve_points(1) == [1]
    assert curve_points(3) == [1, 3]
    assert curve_points(25) == [1, 3, 10, 25]
    assert curve_points(100) == [1, 3, 10, 30, 100]


def test_the_errors_of_the_bound_are_what_repetition_shows():
    values = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    found = [LowerBound(walks=5).estimate(chain(1), LogNormal(2.0), points(values, seed)) for seed in range(60)]
    spread = torch.tensor([estimate.value for estimate in found]).std().item()
    assert found[0].error_walks == pytest.approx(2.0 / math.sqrt(200 * 5), rel=0.15)
    assert spread == pytest.approx(found[0].error_walks, rel=4 / math.sqrt(2 * 60))
    assert found[0].error_examples == pytest.approx(values[:, 0].std().item() / 200**0.5, rel=0.25)


def test_the_errors_of_importance_sampling_are_what_repetition_shows():
    values = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
    found = [Importance(walks=200).estimate(chain(1), LogNormal(0.7), points(values, seed)) for seed in range(60)]
    spread = torch.tensor([estimate.value for estimate in found]).std().item()
    error = math.sqrt((math.exp(0.49) - 1) / (100 * 200))
    assert found[0].error_walks == pytest.approx(error, rel=0.1)
    assert spread == pytest.approx(error, rel=4 / math.sqrt(2 * 60))
    mean = sum(estimate.value for estimate in found) / 60
    expected = values[:, 0].mean().item() + 0.245 - found[0].details["shortfall"]
    assert abs(mean - expected) < 4 * error / math.sqrt(60)
    assert found[0].effective == pytest.approx(200 * math.exp(-0.49), rel=0.05)


@pytest.mark.parametrize("walks", [2, 3, 5, 10, 60])
def test_few_walks_do_not_make_the_error_too_small(walks):
    weights = 0.3 * torch.randn(5000, walks, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    squared = [bootstrap(weights, seed)[1].mean().item() for seed in range(20)]  # rows share their draws: 14 % each
    assert sum(squared) / 20 == pytest.approx(log_mean_exp(weights).var().item(), rel=0.1)


def test_the_error_of_collapsed_weights_is_not_capped_at_one_nat():
    values = torch.zeros(100, 2)
    found = [Importance(walks=100).estimate(chain(1), LogNormal(10.0), points(values, seed)) for seed in range(20)]
    spread = torch.tensor([estimate.value for estimate in found]).std().item()
    error = sum(estimate.error_walks for estimate in found) / 20
    assert error > 2 / 100**0.5  # the first-order formula never exceeds 1 nat per example
    assert spread / 2 < error < 2 * spread


@pytest.mark.parametrize("spread", [0.5, 1.0])
def test_every_point_of_the_curve_is_within_its_error_of_the_answer(spread):
    """E[log mean of n w] by brute force, from many more groups of n."""
    estimate = Importance(walks=1000).estimate(chain(1), LogNormal(spread), points(torch.zeros(50, 2)))
    draws = spread * torch.randn(300_000, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    for walks, value, error in estimate.curves[0].points:
        count = int(walks)
        groups = 300_000 // count
        exact = draws[: groups * count].view(groups, count).logsumexp(1) - math.log(count)
        assert abs(value - exact.mean().item()) < 4.5 * math.hypot(error, exact.std().item() / len(exact) ** 0.5)


class Stepwise(ForwardProcess):
    """The share of step k is N(k + x_1, 1)."""

    def walk(self, chain, batch, *, source=None, path_gradient=False, with_log_ratio=False):
        for k in range(chain.steps, 0, -1):
            share = k + batch.origin[:, 0] + normal(batch.origin[:, 0], source)
            yield Transition(k=k, steps=3, state=batch.origin, previous=None, origin=batch.origin, reverse=None, log_ratio=share)


def test_the_bound_is_the_sum_of_its_steps_each_within_its_error():
    estimate = LowerBound(walks=20).estimate(chain(3), Stepwise(), points())
    (curve,) = estimate.curves
    assert [k for k, _, _ in curve.points] == [1, 2, 3]
    assert sum(value for _, value, _ in curve.points) == pytest.approx(estimate.value, rel=1e-12)
    for k, value, error in curve.points:
        assert abs(value - k - POINTS[:, 0].mean().item()) < 4 / (12 * 20) ** 0.5
        assert error == pytest.approx(POINTS[:, 0].std().item() / 12**0.5, rel=0.3)


def test_collapsed_weights_are_reported():
    estimate = Importance(walks=100).estimate(chain(1), LogNormal(6.0), points())
    (warning,) = estimate.warnings
    assert "fewer than 10 of 100 walks" in warning
    assert 1 <= estimate.effective_min <= estimate.effective < 10


def test_one_walk_has_no_error_of_its_own_and_is_the_bound():
    bound, importance = (kind(walks=1).estimate(chain(), INFUSION, points()) for kind in (LowerBound, Importance))
    assert bound.value == importance.value
    assert bound.error_walks is importance.error_walks is None
    assert bound.error_examples == importance.error_examples > 0


@pytest.mark.parametrize("kind", [LowerBound, Importance])
def test_two_walks_have_an_error_of_their_own(kind):
    estimate = kind(walks=2).estimate(chain(), INFUSION, points())
    assert estimate.error_walks > 0
    if kind is Importance:
        assert estimate.details["shortfall"] > 0
        assert estimate.curves[0].points[-1][2] == pytest.approx(estimate.error_walks)


def test_the_errors_of_the_bound_are_those_of_means():
    """Every step's share and the walks' own error, from the same draws taken apart."""
    examples, model = points(), chain(3)
    estimate = LowerBound(walks=2).estimate(model, Stepwise(), examples)
    blocks = walked("lower bound", model, Stepwise(), examples, 2, 4000, reduction=log_ratio_by_step, numbers=3)
    shares = torch.cat(list(blocks))
    n = len(shares)
    (curve,) = estimate.curves
    assert [error for _, _, error in curve.points] == pytest.approx((shares.mean(1).std(0) / n**0.5).tolist())
    within = (shares.sum(2).diff(dim=1).square().sum() / 4).sqrt().item() / n  # of two, the mean has variance d^2 / 4
    assert estimate.error_walks == pytest.approx(within)
    two = LowerBound(walks=3).estimate(model, Stepwise(), points(POINTS[:2])).curves[0]
    assert all(error > 0 for _, _, error in two.points)


def test_one_example_has_no_error_over_examples():
    estimate = LowerBound(walks=10).estimate(chain(), INFUSION, points(POINTS[:1]))
    assert estimate.error_examples is None
    assert estimate.error == estimate.error_walks > 0


@pytest.mark.parametrize("estimator", [LowerBound(walks=7), Importance(walks=300)])
def test_a_figure_depends_neither_on_batch_mates_nor_on_memory(estimator):
    model, examples = chain(3, Neural()), points()
    whole = estimator.estimate(model, INFUSION, examples)
    alone = [estimator.estimate(model, INFUSION, attrs.evolve(examples, index=examples.index[i : i + 1])).value for i in range(12)]
    assert sum(alone) / 12 == pytest.approx(whole.value, abs=1e-5)
    for max_rows in (1, 50, 700):
        again = attrs.evolve(estimator, max_rows=max_rows).estimate(model, INFUSION, examples)
        assert again.value == pytest.approx(whole.value, abs=1e-5)
        assert again.error_walks == pytest.approx(whole.error_walks, rel=1e-3)


def test_estimating_leaves_the_chain_as_it_was_and_ignores_autocast():
    model = chain(3, Neural()).train()
    plain = LowerBound(walks=3).estimate(model, INFUSION, points())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = LowerBound(walks=3).estimate(model, INFUSION, points())
    assert cast.value == plain.value
    assert model.operator.dtypes == {torch.float32}
    assert all(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_walk_costs_k_evaluations_for_each_block_of_walks():
    class Counted(Affine):
        calls = 0

        def forward(self, state, k, condition=None):
            Counted.calls += 1
            return super().forward(state, k, condition)

    Importance(walks=500).estimate(chain(4, Counted()), INFUSION, points())
    assert Counted.calls == 4 * 2


def test_what_is_no_number_is_an_error_that_names_the_example():
    values = POINTS.clone()
    values[7, 0] = math.nan
    with pytest.raises(NonFiniteError, match=r"lower bound.* 1 of 12 examples, the first is test\[7\]"):
        LowerBound(walks=2).estimate(chain(1), LogNormal(1.0), points(values))


def test_a_walk_of_weight_0_does_not_spoil_importance_sampling():
    class SometimesNothing(LogNormal):
        def walk(self, chain, batch, **rest):
            for step in super().walk(chain, batch, **rest):
                nothing = step.log_ratio > step.origin[:, 0]
                yield attrs.evolve(step, log_ratio=torch.where(nothing, -math.inf, 0.0))

    estimate = Importance(walks=1000).estimate(chain(1), SometimesNothing(1.0), points())
    assert estimate.value == pytest.approx(math.log(0.5), abs=0.1)
    assert estimate.effective == pytest.approx(500, rel=0.1)


def test_an_estimate_carries_what_is_needed_to_publish_it():
    bits = (torch.rand(30, 8) < 0.5).float()
    examples = Data.of(bits, test=bits, binary=True).examples("test", 10, seed=3)
    estimate = LowerBound(walks=2).estimate(chain(1), LogNormal(0.1), examples)
    assert (estimate.examples, estimate.walks, estimate.split, estimate.dim, estimate.seed) == (10, 2, "test", 8, 3)
    assert (estimate.unit, estimate.preparation, estimate.bin_width, estimate.likelihood) == ("nats", "as it is", 1.0, True)
    assert estimate.bits_per_dim == pytest.approx(-estimate.value / (8 * math.log(2)))
    assert "lower bound" in estimate.meaning
    assert estimate.details == {}
