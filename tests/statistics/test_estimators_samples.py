"""Estimators that look at samples: against closed forms, constructed sets, and what is known of draws of one distribution."""

import math
import warnings

import attrs
import pytest
import torch

from chainkit import Chain, ForwardProcess, TransitionOperator
from chainkit.data import Data, Split
from chainkit.distributions import Distribution
from chainkit.errors import DataError, NonFiniteError
from chainkit.kernel import GaussianKernel, UntemperedKernel
from chainkit.preparation import Unprepared
from chainkit_estimators import ClassScore, Copying, Frechet, Mmd, Neighbours, Sampling
from chainkit_estimators.class_score import class_score, error_of_score
from chainkit_estimators.copying import copied
from chainkit_estimators.distances import nearest, radii, squared_distances
from chainkit_estimators.figures import jackknife_error
from chainkit_estimators.frechet import Fitted, fitted, frechet_distance, without_groups
from chainkit_estimators.mmd import median_distance, mmd, sums
from chainkit_estimators.neighbours import scores
from chainkit_estimators.samples import draw, drawn_sets, features
from chainkit_priors import GaussianPrior


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(n, dim, seed=0, mean=0.0, spread=1.0):
    return mean + spread * torch.randn(n, dim, generator=generator(seed), dtype=torch.float64)


class Shifted(TransitionOperator):
    """p(s_0 | s_1) = N(shift, spread^2)."""

    def __init__(self, shift, spread):
        super().__init__()
        self.shift, self.spread = shift, spread

    def forward(self, state, k, condition=None):
        return GaussianKernel(torch.full_like(state, self.shift), torch.full_like(state, self.spread**2))


class NoWalk(ForwardProcess):
    def walk(self, chain, batch, **rest):
        raise AssertionError("samples need no walk")


def chain(shift=0.0, spread=1.0, dim=2):
    return Chain(GaussianPrior(torch.zeros(dim), torch.ones(dim)), Shifted(shift, spread), 1)


def data(n=300, dim=2, seed=0):
    values = normal(2 * n, dim, seed).float()
    labels = (values[:, 0] > 0).long()
    splits = {"train": Split(values=values[:n], labels=labels[:n]), "test": Split(values=values[n:], labels=labels[n:])}
    return Data("normal", splits, Unprepared())


def estimated(estimator, model=None, examples=None):
    return estimator.estimate(model or chain(), NoWalk(), examples or data().examples("test"))


# Distances


def test_distances_are_those_between_all_pairs(monkeypatch):
    left, right = normal(50, 3), normal(70, 3, 1)
    exact = (left[:, None] - right).square().sum(2)
    assert squared_distances(left, right) == pytest.approx(exact, abs=1e-12)
    monkeypatch.setattr("chainkit_estimators.distances.PAIRS", 100)
    found, numbers = nearest(left, right.split(16), 3)
    expected = exact.topk(3, largest=False)
    assert found == pytest.approx(expected.values, abs=1e-12)
    assert torch.equal(numbers, expected.indices)
    own = (left[:, None] - left).square().sum(2).sort(1).values
    assert radii(left, 4) == pytest.approx(own[:, 4], abs=1e-12)


def test_distances_between_bits_are_exact_and_copies_are_at_none():
    bits = (torch.rand(40, 64, generator=generator()) < 0.5).double()
    assert torch.equal(squared_distances(bits, bits), (bits[:, None] != bits).double().sum(2))


# Maximum mean discrepancy


def gaussian_mmd(shift, spread, bandwidth, dim):
    """Between N(0, I) and N(shift, spread^2 I), for the kernel of that bandwidth."""

    def mean_kernel(variance, distance):
        return (1 + variance / bandwidth**2) ** (-dim / 2) * math.exp(-dim * distance**2 / (2 * (bandwidth**2 + variance)))

    return mean_kernel(2, 0) + mean_kernel(2 * spread**2, 0) - 2 * mean_kernel(1 + spread**2, shift)


def discrepancy(x, y, bandwidths):
    return mmd(sums(x, y, bandwidths), sums(y, x, bandwidths))


@pytest.mark.parametrize(("shift", "spread"), [(0.5, 1.0), (0.0, 0.6), (0.0, 1.0)])
def test_the_mmd_of_gaussians_is_the_closed_form_within_its_error(shift, spread):
    bandwidths = torch.tensor([0.5, 2.0], dtype=torch.float64)
    exact = [gaussian_mmd(shift, spread, bandwidth, 3) for bandwidth in bandwidths.tolist()]
    values, errors = discrepancy(normal(900, 3, 1), normal(1400, 3, 2, shift, spread), bandwidths)
    for value, error, expected in zip(values, errors, [*exact, sum(exact)], strict=True):
        assert abs(value - expected) < 4 * error
    assert errors[-1] < 0.02


def test_the_mmd_is_the_double_sum():
    x, y = normal(7, 2), normal(5, 2, 1)
    kernel = lambda a, b: (-(a[:, None] - b).square().sum(2) / (2 * 0.7**2)).exp()  # noqa: E731
    own = (kernel(x, x).sum() - 7) / 42 + (kernel(y, y).sum() - 5) / 20
    values, errors = discrepancy(x, y, torch.tensor([0.7], dtype=torch.float64))
    assert values[0] == pytest.approx((own - 2 * kernel(x, y).mean()).item())
    assert values[1] == values[0]
    left_out = [[discrepancy(x[torch.arange(7) != i], y, torch.tensor([0.7]).double())[0][0] for i in range(7)]]
    left_out += [[discrepancy(x, y[torch.arange(5) != i], torch.tensor([0.7]).double())[0][0] for i in range(5)]]
    expected = sum((len(part) - 1) * torch.stack(part).var(correction=0) for part in left_out).sqrt()
    assert errors[0] == pytest.approx(expected.item())


@pytest.mark.parametrize(("shift", "least", "most"), [(0.0, 1.0, 2.0), (0.6, 0.8, 1.25)])
def test_the_mmd_has_no_bias_and_its_error_is_what_repetition_shows_or_more(shift, least, most):
    bandwidths = torch.tensor([1.0], dtype=torch.float64)
    found = [discrepancy(normal(60, 2, 2 * seed), normal(80, 2, 2 * seed + 1, shift), bandwidths) for seed in range(200)]
    values, errors = (torch.stack(parts)[:, -1] for parts in zip(*found, strict=True))
    assert abs(values.mean() - gaussian_mmd(shift, 1.0, 1.0, 2)) < 4 * values.std() / 200**0.5
    assert least < errors.square().mean().sqrt() / values.std() < most


def test_the_mmd_of_a_chain_stands_beside_that_of_training_data():
    right = estimated(Mmd(sampling=Sampling(samples=400)))
    wrong = estimated(Mmd(sampling=Sampling(samples=400)), chain(shift=0.7))
    assert abs(right.value) < 4 * right.error
    assert right.beside == wrong.beside
    assert abs(right.beside["training data"]) < 4 * right.error
    (curve,) = wrong.curves
    assert abs(wrong.value - sum(gaussian_mmd(0.7, 1.0, place, 2) for place, _, _ in curve.points)) < 4 * wrong.error
    assert wrong.value > 4 * wrong.error
    assert sum(value for _, value, _ in curve.points) == pytest.approx(wrong.value)
    places = [place for place, _, _ in curve.points]
    assert places == pytest.approx([factor * wrong.details["median distance"] for factor in (0.25, 0.5, 1, 2, 4)])
    assert wrong.details["median distance"] == pytest.approx(
        2**0.5 * (2 * math.log(2)) ** 0.5, rel=0.1
    )  # of two normal points in the plane


def test_training_data_is_compared_as_samples_are():
    estimator, model = Mmd(sampling=Sampling(samples=30), bandwidths=(0.5, 2.0), relative=False), chain()
    sets = drawn_sets(model, data().examples("test"), estimator.sampling)
    widths = torch.tensor([0.5, 2.0], dtype=torch.float64)
    expected = discrepancy(sets.training, sets.held_out, widths)[0][-1].item()
    assert estimated(estimator, model).beside == {"training data": pytest.approx(expected)}


def test_the_median_distance_is_over_pairs_of_different_vectors():
    line = torch.tensor(
        [[0.0], [1.0], [3.0], [7.0]], dtype=torch.float64
    )  # distances 1, 3, 7, 2, 6, 4; torch takes the lower of two middles
    assert median_distance(line) == pytest.approx(3.0)
    assert median_distance(line[:3]) == pytest.approx(2.0)


def test_bandwidths_may_be_given():
    found = estimated(Mmd(sampling=Sampling(samples=400), bandwidths=(0.5, 2.0), relative=False), chain(shift=0.7))
    assert [place for place, _, _ in found.curves[0].points] == [0.5, 2.0]
    exact = sum(gaussian_mmd(0.7, 1.0, bandwidth, 2) for bandwidth in (0.5, 2.0))
    assert abs(found.value - exact) < 4 * found.error


# Nearest neighbours


def means(samples, real, k=3):
    return {name: terms.mean().item() for name, terms in scores(samples, real, k).items()}


def test_the_data_itself_has_precision_recall_and_coverage_1():
    values = normal(60, 4)
    found = means(values, values)
    assert (found["precision"], found["recall"], found["coverage"]) == (1, 1, 1)


def test_what_is_far_away_has_none_of_them():
    assert set(means(normal(60, 4) + 100, normal(50, 4, 1)).values()) == {0.0}


def test_samples_of_one_of_two_modes_are_precise_and_cover_half():
    real = torch.cat([normal(100, 2, 0, 0.0), normal(100, 2, 1, 100.0)])
    found = means(normal(400, 2, 2, 0.0, 0.5), real)
    assert found["precision"] == pytest.approx(1, abs=0.02)
    assert found["recall"] < 0.5
    assert 0.25 < found["coverage"] <= 0.5


def test_the_scores_of_a_line_are_counted_by_hand():
    real = torch.tensor([[0.0], [1.0], [3.0]], dtype=torch.float64)  # with k = 1: balls [-1, 1], [0, 2], [1, 5]
    samples = torch.tensor([[0.5], [4.0], [9.0], [9.5]], dtype=torch.float64)  # [-3, 4], [0.5, 7.5], [8.5, 9.5], [9, 10]
    found = means(samples, real, k=1)
    assert found == {"precision": 0.5, "recall": 1.0, "density": 0.75, "coverage": 1.0}


def test_draws_of_one_distribution_have_the_density_and_coverage_that_are_known():
    n, m, k = 150, 100, 5
    found = [means(normal(m, 3, 2 * seed), normal(n, 3, 2 * seed + 1), k) for seed in range(60)]
    density = torch.tensor([one["density"] for one in found])
    coverage = torch.tensor([one["coverage"] for one in found])
    exact = 1 - math.prod((n - i) / (n + m - i) for i in range(1, k + 1))
    assert abs(density.mean() - 1) < 4 * density.std() / 60**0.5
    assert abs(coverage.mean() - exact) < 4 * coverage.std() / 60**0.5


def test_the_coverage_of_a_chain_is_near_that_of_training_data():
    found = estimated(Neighbours(sampling=Sampling(samples=300)))
    assert abs(found.value - found.beside["coverage of training data"]) < 4 * 2**0.5 * found.error
    narrow = estimated(Neighbours(sampling=Sampling(samples=300)), chain(spread=0.3))
    assert narrow.beside["precision"] > 0.95
    assert narrow.value < found.value - 4 * found.error
    assert narrow.beside["recall"] < found.beside["recall"] / 2
    assert found.details["errors"]["coverage"] == found.error


def test_neighbours_need_more_examples_than_there_are_neighbours():
    with pytest.raises(DataError, match="6 examples or more are needed of the test split, not 5"):
        estimated(Neighbours(sampling=Sampling(samples=50)), examples=data().examples("test", 5))


def test_the_mmd_needs_three_examples():
    assert math.isfinite(estimated(Mmd(sampling=Sampling(samples=3)), examples=data().examples("test", 3)).error_examples)
    with pytest.raises(DataError, match="3 examples or more are needed of the test split, not 2"):
        estimated(Mmd(sampling=Sampling(samples=50)), examples=data().examples("test", 2))


def test_copying_needs_two_examples():
    estimator = Copying(sampling=Sampling(samples=2))
    assert math.isfinite(estimated(estimator, examples=data(2).examples("test")).error_examples)
    with pytest.raises(DataError, match="2 examples or more are needed of the test split, not 1"):
        estimated(estimator, examples=data(1).examples("test"))


def test_the_frechet_distance_needs_two_examples_in_every_tenth():
    estimator = Frechet(sampling=Sampling(samples=20, features="pixels"))
    assert math.isfinite(estimated(estimator, examples=data().examples("test", 20)).error_examples)
    with pytest.raises(DataError, match="20 examples or more are needed of the test split, not 19"):
        estimated(estimator, examples=data().examples("test", 19))


@pytest.mark.parametrize("estimator", [Frechet, Mmd, Neighbours, Copying, ClassScore], ids=lambda kind: kind.__name__)
def test_samples_that_are_no_finite_numbers_are_counted(estimator):
    sampling = {"samples": 50} if estimator is ClassScore else {"sampling": Sampling(samples=50)}
    with pytest.raises(NonFiniteError, match="50 of 50 samples are not finite numbers"):
        estimated(estimator(**sampling), chain(shift=math.nan))


def test_features_that_overflow_are_named():
    """The classifier is in float32, where a state of 3e38 has no finite features."""
    with pytest.raises(NonFiniteError, match="of 50 samples, as features, are not finite numbers"):
        estimated(Frechet(sampling=Sampling(samples=50, features="classifier")), chain(shift=3e38))


# Copying


def training(values):
    return Data.of(values.float()).examples("train")


def share(vectors, values):
    return copied(vectors.float().double(), training(values), features("pixels", training(values))).mean().item()


def test_copies_and_noisy_copies_are_copies_and_what_is_far_away_is_none():
    values = normal(400, 5)
    assert share(values[:100], values) == 1
    assert share(values[:100] + 1e-3 * normal(100, 5, 1), values) == 1
    assert share(normal(50, 5, 1, 100.0), values) == 0


@pytest.mark.parametrize(("dim", "exact"), [(1, 2 / 3), (2, 6 * math.pi / (8 * math.pi + 3 * 3**0.5))])
def test_independent_draws_are_copies_as_often_as_two_points_are_each_others_nearest(dim, exact):
    shares = torch.tensor([share(normal(200, dim, 2 * seed), normal(1500, dim, 2 * seed + 1)) for seed in range(20)])
    assert abs(shares.mean() - exact) < 4 * shares.std() / 20**0.5
    assert shares.std() < 2 * (exact * (1 - exact) / 200) ** 0.5


def test_a_twin_in_the_training_data_is_compared_with_its_other_neighbours():
    values = torch.tensor([[0.0], [0.0], [5.0], [9.0]], dtype=torch.float64)
    assert copied(torch.tensor([[0.0], [5.5], [20.0]]).double(), training(values), features("pixels", training(values))).tolist() == [
        0,
        1,
        0,
    ]


def test_copying_of_a_chain_stands_beside_that_of_held_out_data():
    found = estimated(Copying(sampling=Sampling(samples=300)))
    assert abs(found.value - found.beside["held-out data"]) < 4 * math.hypot(found.error, found.details["error of held-out data"])
    copies = data()
    copies.splits["train"] = Split(values=torch.cat([torch.zeros(1, 2), 10 + copies.split("train").values]))
    found = estimated(Copying(sampling=Sampling(samples=100)), chain(spread=0.01), copies.examples("test"))
    assert found.value == 1
    assert found.details["training examples"] == 301


# Fréchet distance


def test_the_frechet_distance_is_the_closed_form():
    diagonal = torch.diag(torch.tensor([1.0, 4.0, 9.0]).double())
    other = torch.diag(torch.tensor([4.0, 4.0, 1.0]).double())
    one, two = Fitted(mean=torch.zeros(3).double(), covariance=diagonal), Fitted(mean=torch.ones(3).double(), covariance=other)
    assert frechet_distance(one, two) == pytest.approx(3 + 1 + 0 + 4)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-12)
    turn = torch.linalg.qr(normal(3, 3)).Q
    turned = [Fitted(mean=turn @ fit.mean, covariance=turn @ fit.covariance @ turn.T) for fit in (one, two)]
    assert frechet_distance(*turned) == pytest.approx(8)
    assert frechet_distance(*turned[::-1]) == pytest.approx(8)


def test_the_error_is_that_of_samples_and_data_together():
    examples = data(80).examples("test")
    sampling = Sampling(samples=60, features="pixels")
    sets = drawn_sets(chain(), examples, sampling)
    samples, held_out = fitted(sets.samples), fitted(sets.held_out)
    parts = [
        [frechet_distance(left, held_out) for left in without_groups(sets.samples)],
        [frechet_distance(samples, left) for left in without_groups(sets.held_out)],
    ]
    expected = math.hypot(*map(jackknife_error, parts))
    assert estimated(Frechet(sampling=sampling), examples=examples).error_examples == pytest.approx(expected)


def test_means_count_by_their_difference():
    one, other = (Fitted(mean=torch.tensor([m, 1.0]).double(), covariance=torch.eye(2).double()) for m in (3.0, 1.0))
    assert frechet_distance(one, other) == pytest.approx(4.0)


def test_covariances_that_do_not_commute_have_the_root_of_their_product():
    left, right = (torch.mm(part, part.T) for part in (normal(4, 6), normal(4, 6, 1)))
    zero = torch.zeros(4).double()
    root = torch.linalg.eigvals(left @ right).real.sqrt().sum()
    exact = left.trace() + right.trace() - 2 * root
    assert frechet_distance(Fitted(mean=zero, covariance=left), Fitted(mean=zero, covariance=right)) == pytest.approx(exact.item())


def test_moments_are_fitted_and_fewer_vectors_than_features_are_no_trouble():
    assert fitted(normal(50_000, 2, spread=2.0)).covariance == pytest.approx(4 * torch.eye(2).double(), abs=0.1)
    few = fitted(normal(5, 20))
    assert math.isfinite(frechet_distance(few, fitted(normal(6, 20, 1))))


def test_the_frechet_distance_of_a_chain_is_the_closed_form_within_its_error_and_bias():
    examples = data(3000).examples("test")
    found = estimated(Frechet(sampling=Sampling(samples=3000, features="pixels")), chain(shift=0.7, spread=0.5), examples)
    bias = 2 * 2 / 3000  # about the trace of the covariance over n, from each set
    assert abs(found.value - 2 * (0.49 + 0.25)) < 4 * found.error + bias
    assert found.error < 0.1
    assert found.beside["training data"] < 0.01


def test_the_error_of_the_frechet_distance_is_what_repetition_shows():
    model, estimator = chain(shift=0.7, spread=0.5), Frechet(sampling=Sampling(samples=200, features="pixels"))
    found = [estimated(estimator, model, data(200, seed=seed).examples("test", seed=seed)) for seed in range(60)]
    spread = torch.tensor([estimate.value for estimate in found]).std().item()
    error = (sum(estimate.error**2 for estimate in found) / 60) ** 0.5
    assert error == pytest.approx(spread, rel=4 / (2 * 60) ** 0.5)


# What the classifier says


def test_the_score_is_1_where_all_samples_read_alike_and_the_number_of_classes_where_each_is_sure():
    assert class_score(torch.tensor([[0.2, 0.3, 0.5]]).double().expand(30, 3)) == pytest.approx(1)
    assert class_score(torch.eye(3).double().repeat(10, 1)) == pytest.approx(3)
    assert class_score(torch.tensor([[1.0, 0.0]]).double().expand(30, 2)) == pytest.approx(1)


def test_the_error_of_the_score_is_what_repetition_shows():
    def predicted(seed):
        return (2 * torch.randn(200, 3, generator=generator(seed), dtype=torch.float64)).softmax(1)

    values = torch.tensor([class_score(predicted(seed)) for seed in range(100)])
    error = sum(error_of_score(predicted(seed)) ** 2 for seed in range(100)) ** 0.5 / 10
    assert error == pytest.approx(values.std().item(), rel=4 / (2 * 100) ** 0.5)


def test_samples_of_both_classes_score_as_held_out_data_does_and_samples_of_one_do_not():
    both, one = (estimated(ClassScore(samples=400), model) for model in (chain(), chain(shift=3.0, spread=0.1)))
    assert both.value == pytest.approx(both.beside["held-out data"], abs=5 * both.error)
    assert one.value < 1.1 < both.value
    assert both.beside["accuracy"] > 0.9
    ending = estimated(ClassScore(samples=400, last="mean"), chain(3.0))
    assert ending.value == pytest.approx(1, abs=1e-6)  # all samples at one point
    assert "of samples ending in a mean" in ending.meaning


def test_features_of_the_classifier_need_labels_and_are_those_of_its_hidden_layer():
    found = features("classifier", data().examples("test"))(normal(40, 2).float())
    assert found.shape == (40, 256)
    assert (found >= 0).all()
    unlabelled = Data.of(torch.zeros(40, 2), test=torch.zeros(40, 2)).examples("test")
    with pytest.raises(DataError, match="no labels"):
        estimated(Frechet(sampling=Sampling(samples=40, features="classifier")), examples=unlabelled)


# Samples


def test_samples_do_not_depend_on_how_many_are_drawn_after_them_and_differ_by_seed():
    examples = data().examples("test", seed=1)
    many = draw(chain(), examples, 1200)
    assert torch.equal(draw(chain(), examples, 1000), many[:1000])
    assert many.unique(dim=0).shape == many.shape
    assert not torch.equal(draw(chain(), attrs.evolve(examples, seed=2), 500), many[:500])


def test_conditional_samples_have_the_classes_of_the_training_data():
    """An exact conditional chain of two classes, nine to one, is of the law of the data."""

    class Shifted(TransitionOperator):
        def forward(self, state, k, condition=None):
            return GaussianKernel(6 * condition[:, None] + torch.zeros_like(state), torch.ones_like(state))

    labels = {split: (torch.arange(n) % 10 == 0).long() for split, n in (("train", 4000), ("test", 1000))}
    splits = {split: Split(values=normal(len(given), 2) + 6.0 * given[:, None], labels=given) for split, given in labels.items()}
    data = Data("nine to one", {name: attrs.evolve(split, values=split.values.float()) for name, split in splits.items()}, Unprepared(), 2)
    model = Chain(GaussianPrior(torch.zeros(2), torch.ones(2)), Shifted(), 1)
    found = estimated(Mmd(sampling=Sampling(samples=1000)), model, data.examples("test"))
    assert abs(found.value) < 4 * found.error
    assert found.error < 0.05


@pytest.mark.parametrize("estimator", [Mmd(sampling=Sampling(steps=9)), ClassScore(steps=9), Copying(sampling=Sampling(steps=9))])
def test_steps_that_the_chain_does_not_allow_are_refused_before_anything_is_drawn(estimator):
    with pytest.raises(ValueError, match="1 trained steps, not 9"):
        estimator.check(chain(), data())


def test_samples_may_end_in_the_mean_of_the_last_step():
    examples = data().examples("test", seed=1)
    assert torch.equal(draw(chain(0.7), examples, 600, last="mean"), torch.full((600, 2), 0.7))
    # All at (3, 3), and data of N(0, 1) in two dimensions: |m|^2 + tr C.
    found = estimated(Frechet(sampling=Sampling(samples=50, features="pixels", last="mean")), chain(3.0), data(4000).examples("test"))
    assert found.value == pytest.approx(20, abs=0.5)
    assert "ending in a mean" in found.meaning


def test_an_end_without_a_mean_is_refused_before_training_too():
    class Meanless(Distribution):
        def __init__(self, rows):
            self.rows = rows

        def sample(self, source=None):
            return torch.zeros(self.rows, 2)

    class Still(TransitionOperator):
        def forward(self, state, k, condition=None):
            return UntemperedKernel(Meanless(len(state)))

    still = Chain(GaussianPrior(torch.zeros(2), torch.ones(2)), Still(), 1)
    with pytest.raises(DataError, match="no mean; take draws"):
        draw(still, data().examples("test"), 20, last="mean")
    for estimator in (Mmd, Neighbours, Copying, Frechet):
        estimator(sampling=Sampling(features="pixels")).check(still, data().examples("test"))
        with pytest.raises(DataError, match="no mean; take draws"):
            estimator(sampling=Sampling(features="pixels", last="mean")).check(still, data().examples("test"))


def test_samples_of_another_shape_than_the_data_are_refused():
    with pytest.raises(TypeError, match="of the shape of an example"):
        estimated(Mmd(), chain(dim=3))


def test_no_estimate_warns():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for estimator in (Mmd(), Neighbours(), Copying(), Frechet(), ClassScore()):
            found = estimated(estimator)
            assert found.likelihood is False
            assert found.bits_per_dim is None
