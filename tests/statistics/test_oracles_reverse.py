"""Exact reverse kernels: log w is log p(x) on every walk, for every K; a variance of b_k costs a gap that falls as 1 / K."""

import itertools
import math

import numpy
import pytest
import torch

from chainkit import Batch, Chain
from chainkit.component import Context
from chainkit.distributions import Gaussian
from chainkit.random import seeded
from chainkit.testing.oracles import Enumerated, FiniteReverse, GaussianReverse, LinearGaussian
from chainkit.testing.oracles.cases import OraclePrior
from chainkit.testing.oracles.full_gaussian import FullGaussian
from chainkit.testing.tiny import tiny_data
from chainkit.transition import total_log_ratio
from chainkit_diffusion import BinomialDiffusion, CosineVariances, FixedVariances, GaussianDiffusion, HarmonicVariances, LinearVariances
from chainkit_walkback import WalkbackBernoulli

MEAN = torch.tensor([0.4, -0.3, 0.1], dtype=torch.float64)
COVARIANCE = torch.tensor([[0.5, 0.3, -0.1], [0.3, 0.4, 0.0], [-0.1, 0.0, 0.2]], dtype=torch.float64)
SCHEDULES = {"linear": LinearVariances(0.02, 0.5), "cosine": CosineVariances(), "harmonic": HarmonicVariances(2)}


def gaussian_data(rows):
    return FullGaussian(MEAN.expand(rows, -1), COVARIANCE).sample(seeded("cpu", "data", rows))


@pytest.mark.parametrize("steps", [1, 2, 5, 20, 200])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_walk_of_gaussian_data_has_log_p_of_x_under_the_exact_reverse(schedule, steps):
    process = GaussianDiffusion(SCHEDULES[schedule], steps)
    reverse = GaussianReverse(process, steps, MEAN, COVARIANCE)
    x = gaussian_data(30)
    log_w = total_log_ratio(process.walk(reverse.chain(), Batch.of(x), source=seeded("cpu", steps), with_log_ratio=True))
    torch.testing.assert_close(log_w, reverse.log_prob(reverse.chain(), x), rtol=0, atol=1e-9)


@pytest.mark.parametrize("steps", [1, 3, 30])
def test_what_the_exact_reverse_generates_is_the_data(steps):
    reverse = GaussianReverse(GaussianDiffusion(SCHEDULES["linear"], steps), steps, MEAN, COVARIANCE)
    mean, covariance = LinearGaussian((3,)).moments(reverse.chain())
    torch.testing.assert_close(mean, MEAN)
    torch.testing.assert_close(covariance, COVARIANCE)


def rough(steps):
    """The same diffusion in so many steps, and its reverse with the variances b_k."""
    process = GaussianDiffusion(FixedVariances([1 - math.exp(-4 / steps)]), steps)
    return process, GaussianReverse(process, steps, MEAN, COVARIANCE, exact=False)


def corners():
    """27 points and weights that average any quadratic function as N(m, S) does."""
    places, weights = numpy.polynomial.hermite_e.hermegauss(3)
    grid = torch.cartesian_prod(*[torch.tensor(places)] * 3)
    share = torch.cartesian_prod(*[torch.tensor(weights / weights.sum())] * 3).prod(1)
    return MEAN + grid @ torch.linalg.cholesky(COVARIANCE).mT, share


@pytest.mark.parametrize("steps", [1, 4, 16])
def test_the_gap_of_the_variance_b_is_its_closed_form(steps):
    process, reverse = rough(steps)
    x, share = corners()
    bound = LinearGaussian((3,)).bound(reverse.chain(), process.step, x)
    exact = GaussianReverse(process, steps, MEAN, COVARIANCE).log_prob(reverse.chain(), x)
    assert float((share * (exact - bound)).sum()) == pytest.approx(reverse.gap(), rel=1e-9)


def test_drawn_walks_show_that_gap():
    """Within 4 standard errors, of 0.5 %."""
    process, reverse = rough(12)
    x = gaussian_data(60_000)
    log_w = total_log_ratio(process.walk(reverse.chain(), Batch.of(x), source=seeded("cpu", 0), with_log_ratio=True))
    gap = reverse.log_prob(reverse.chain(), x) - log_w
    error = float(gap.std()) / len(gap) ** 0.5
    assert error < 0.01 * reverse.gap()
    assert abs(float(gap.mean()) - reverse.gap()) < 4 * error


def test_the_gap_falls_as_one_over_the_number_of_steps():
    """The slope of log gap over log K is -1, up to a correction that itself falls as 1 / K and is extrapolated away."""
    gaps = [rough(steps)[1].gap() for steps in (64, 256, 1024)]
    early, late = (math.log(after / before) / math.log(4) for before, after in itertools.pairwise(gaps))
    assert late == pytest.approx(-1, abs=0.02)
    assert (4 * late - early) / 3 == pytest.approx(-1, abs=0.002)


@pytest.fixture(scope="module")
def beats(host):
    """The five beats of a heartbeat of length 20, from the dataset."""
    data = host.part("dataset", "heartbeat").component.make(host.part("dataset", "heartbeat").config, Context())
    values = data.split("train").values
    return torch.unique(values.double(), dim=0), values


@pytest.mark.parametrize("steps", [1, 2, 7, 60])
def test_the_optimum_of_the_heartbeat_is_reached_on_every_walk_of_its_exact_reverse(beats, steps):
    """log2(1/5) bits, whatever the number of steps."""
    points, _ = beats
    process = BinomialDiffusion(HarmonicVariances(2), steps, 0.2)
    reverse = FiniteReverse(process, steps, points)
    chain = reverse.chain()
    walk = process.walk(chain, Batch.of(points.repeat(10, 1)), source=seeded("cpu", steps), with_log_ratio=True)
    bits = total_log_ratio(walk) / math.log(2)
    torch.testing.assert_close(bits, torch.full_like(bits, math.log2(1 / 5)), rtol=0, atol=1e-9)
    sample = chain.sample(200, source=seeded("cpu", "sample")).state
    assert torch.equal(torch.unique(sample, dim=0), points)


def test_the_beats_are_five_and_equally_frequent(beats):
    points, values = beats
    assert points.shape == (5, 20)
    assert points.sum(1).tolist() == [4.0] * 5
    share = (values.double()[:, None] == points).all(2).double().mean(0)
    assert bool(((share - 0.2).abs() < 5 * (0.16 / len(values)) ** 0.5).all())


def test_no_chain_does_better_than_the_optimum_on_average_over_the_beats():
    """A heartbeat of 8 bins, enumerated: the mean of log p(x) over its five beats is at most log(1/5)."""
    support = Enumerated.bits((8,))
    beats = (torch.arange(8) % 5 == torch.arange(5)[:, None]).double()
    reverse = FiniteReverse(BinomialDiffusion(HarmonicVariances(2), 2, 0.2), 2, beats)
    with torch.no_grad():
        law = support.log_law(reverse.chain())
        assert float(support.log_prob(reverse.chain(), beats).mean()) == pytest.approx(math.log(1 / 5), abs=1e-9)
    assert float(torch.logsumexp(law, 0)) == pytest.approx(0, abs=1e-9)
    assert int((law > -1e9).sum()) == 5


def test_what_cannot_be_enumerated_or_read_is_refused():
    with pytest.raises(ValueError, match="at most 12 bits"):
        Enumerated.bits((13,))
    with pytest.raises(TypeError, match="not linear-Gaussian: Bernoulli"):
        LinearGaussian((2,)).moments(Chain(OraclePrior(tiny_data(binary=True).provided()[0]), WalkbackBernoulli(None), 1))


@pytest.mark.parametrize("bend", [1.0, 1e-6])
def test_a_mean_that_is_not_quite_linear_is_refused(bend):
    bent = GaussianReverse(GaussianDiffusion(LinearVariances(0.1, 0.2), 2), 2, MEAN, COVARIANCE).chain()
    bent.operator.forward = lambda state, k, condition=None: type(
        "Bent", (), {"at": lambda self, t: Gaussian(state + bend * state.square(), state * 0 + 1)}
    )()
    with pytest.raises(ValueError, match="not linear in the state"):
        LinearGaussian((3,)).moments(bent)
