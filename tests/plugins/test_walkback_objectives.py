"""Algorithm 1 and the gradient of eq. 8, against enumerated and closed-form gradients."""

import itertools
import math

import pytest
import torch
from torch import nn

from chainkit import Batch, Chain, ForwardProcess, Kernel, Network, Prior, Reversible, Schedule, Transition, TransitionOperator
from chainkit.distributions import Bernoulli, Gaussian
from chainkit.kernel import UntemperedKernel
from chainkit.random import seeded
from chainkit_walkback import Constant, Geometric, HeatedProcess, Walkback, WalkbackBernoulli, WalkbackBound, WalkbackGaussian
from chainkit_walkback.bound import baseline

BITS, ALPHA = 2, 0.5
STATES = torch.tensor(list(itertools.product([0.0, 1.0], repeat=BITS)), dtype=torch.float64)


class LinearPerStep(Network):
    """W_k s + c_k."""

    def __init__(self, steps):
        super().__init__()
        generator = seeded("cpu", 5)
        self.weight = nn.Parameter(torch.randn(steps, BITS, BITS, generator=generator, dtype=torch.float64))
        self.shift = nn.Parameter(torch.randn(steps, BITS, generator=generator, dtype=torch.float64))

    def forward(self, state, k, condition=None):
        return (state @ self.weight[k - 1].mT + self.shift[k - 1],)

    def bias_heads(self, biases):
        raise NotImplementedError


class LearnedBits(Prior):
    def __init__(self):
        super().__init__()
        self.logits = nn.Parameter(torch.tensor([0.4, -0.9], dtype=torch.float64))

    def forward(self, rows):
        return Bernoulli(self.logits.expand(rows, -1))


class LearnedTemperature(Schedule):
    def __init__(self, steps):
        super().__init__()
        self.log = nn.Parameter(0.4 * torch.arange(steps, dtype=torch.float64))

    def values(self, steps):
        return self.log[:steps].exp()


class Follow(Kernel):
    """A kernel whose draws are the next states of given paths."""

    def __init__(self, inner, following):
        self.inner, self.following = inner, following

    def at(self, temperature=1.0):
        distribution = self.inner.at(temperature)
        distribution.sample = lambda source=None: self.following
        return distribution


class Following(TransitionOperator):
    """An operator that follows given paths [K, B, bits], one after each rewind."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.ahead = inner, []

    def rewind(self, paths):
        self.ahead = [*STATES[paths], None]

    def forward(self, state, k, condition=None):
        return Follow(self.inner(state, k, condition), self.ahead.pop(0))


def bit_chain(steps, straight_through=False):
    operator = Following(WalkbackBernoulli(LinearPerStep(steps), ALPHA, straight_through))
    return Chain(LearnedBits(), operator, steps, temperature=LearnedTemperature(steps))


def all_paths(steps):
    return torch.tensor(list(itertools.product(range(len(STATES)), repeat=steps)))


def masses(logits):
    """The mass of every state, one row for each row of logits."""
    rate = logits.sigmoid()[..., None, :]
    return (STATES * rate + (1 - STATES) * (1 - rate)).prod(-1)


def path_law(chain, origin):
    """q and log w of every path, by products of transition matrices, with their gradients."""
    network, temperature, paths = chain.operator.inner.network, chain.temperature.values(chain.steps), all_paths(chain.steps)

    def matrix(k, heat):
        return masses(((1 - ALPHA) * STATES + ALPHA * network(STATES, k)[0]) / heat)

    at = torch.cat([torch.full((len(paths), 1), origin), paths], 1)
    q, log_w = torch.ones(len(paths), dtype=torch.float64), masses(chain.prior.logits)[at[:, -1]].log()
    for k in range(1, chain.steps + 1):
        away = matrix(max(k - 1, 1), temperature[k - 1])[at[:, k - 1], at[:, k]]
        back = matrix(k, temperature[k - 1])[at[:, k], at[:, k - 1]]
        q, log_w = q * away, log_w + back.log() - away.log()
    return q, log_w


def exact_gradient(chain, origins):
    """Value and gradient of -L, mean over the origins, by summing over all paths."""
    value = -sum((q * log_w).sum() for q, log_w in (path_law(chain, origin) for origin in origins)) / len(origins)
    return value.detach(), flat(torch.autograd.grad(value, list(chain.parameters())))


def flat(gradients):
    return torch.cat([gradient.flatten() for gradient in gradients])


def one_estimate(chain, objective, origins, walks):
    """Value and gradient of the objective when the rows take given walks [rows, K]."""
    chain.operator.rewind(walks.mT)
    (loss,) = objective.losses(chain, HeatedProcess(), Batch.of(STATES[origins]))
    return loss.value.detach(), flat(torch.autograd.grad(loss.value, list(chain.parameters())))


def expected_estimate(chain, objective, origins):
    """Mean value and gradient, and the variance of the gradient, over everything that the rows can draw."""
    rows = [origin for origin in origins for _ in range(objective.walks)]
    paths, law = all_paths(chain.steps), [path_law(chain, origin)[0].detach() for origin in rows]
    value, gradient, square = 0.0, 0.0, 0.0
    for choice in itertools.product(range(len(paths)), repeat=len(rows)):
        probability = math.prod(float(q[i]) for q, i in zip(law, choice, strict=True))
        each, slope = one_estimate(chain, objective, origins, paths[list(choice)])
        value, gradient, square = value + probability * each, gradient + probability * slope, square + probability * slope.square().sum()
    return value, gradient, float(square - gradient.square().sum())


@pytest.mark.parametrize(
    ("steps", "origins", "walks", "kind"),
    [
        (3, [1], 1, "none"),
        (3, [2], 1, "batch"),
        (2, [1], 2, "example"),
        (2, [1, 3], 1, "batch"),
        (2, [2], 2, "batch"),
        (1, [0, 3], 2, "example"),
    ],
)
def test_the_score_function_gradient_is_unbiased_over_all_paths(steps, origins, walks, kind):
    chain = bit_chain(steps)
    value, gradient, _ = expected_estimate(chain, WalkbackBound(walks, kind), origins)
    exact_value, exact = exact_gradient(chain, origins)
    torch.testing.assert_close(value, exact_value, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(gradient, exact, rtol=1e-9, atol=1e-10)
    assert float(exact.norm()) > 0.1


def test_a_baseline_over_the_walks_of_an_example_lowers_the_variance():
    chain = bit_chain(2)
    without, beside = (expected_estimate(chain, WalkbackBound(2, kind), [1])[2] for kind in ("none", "example"))
    assert beside < 0.7 * without


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_straight_through_draws_trade_a_little_bias_for_a_lot_of_variance(steps):
    _, score, noise = expected_estimate(bit_chain(steps), WalkbackBound(), [1])
    value, found, variance = expected_estimate(bit_chain(steps, straight_through=True), WalkbackBound(), [1])
    exact_value, exact = exact_gradient(bit_chain(steps), [1])
    torch.testing.assert_close(value, exact_value, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(score, exact, rtol=1e-9, atol=1e-10)
    assert variance < 0.7 * noise
    bias = float((found - exact).norm() / exact.norm())
    assert 1e-6 < bias < 0.3, "biased, or it would not need its name, but by little"


def test_the_gradient_of_eq_8_is_not_that_of_algorithm_1():
    chain = bit_chain(2)
    law, paths = path_law(chain, 1)[0].detach(), all_paths(2)
    local = 0.0
    for path, probability in zip(paths, law, strict=True):
        chain.operator.rewind(path[:, None])
        loss = sum(loss.value for loss in Walkback().losses(chain, HeatedProcess(), Batch.of(STATES[[1]])))
        gradient = torch.autograd.grad(loss, list(chain.parameters()), allow_unused=True, materialize_grads=True)
        local = local + probability * flat(gradient)
    _, exact = exact_gradient(chain, [1])
    assert float((local - exact).norm()) > 0.1 * float(exact.norm())


def test_baselines_are_means_over_other_walks():
    to_go = torch.tensor([[1.0, 3.0, 5.0, 11.0], [2.0, 2.0, 0.0, 4.0]])
    assert baseline(to_go, 2, "example").tolist() == [[3.0, 1.0, 11.0, 5.0], [2.0, 2.0, 4.0, 0.0]]
    torch.testing.assert_close(baseline(to_go, 2, "batch")[0], torch.tensor([19.0, 17.0, 15.0, 9.0]) / 3)
    assert not baseline(to_go, 2, "none").any()
    assert not baseline(to_go[:, :1], 1, "batch").any()


class Affine(Network):
    """F_mu = w s + c, F_sigma = b, on the line."""

    def __init__(self):
        super().__init__()
        self.theta = nn.Parameter(torch.tensor([0.6, 0.3, 0.2], dtype=torch.float64))

    def forward(self, state, k, condition=None):
        w, c, b = self.theta
        return w * state + c, b.expand_as(state)

    def bias_heads(self, biases):
        raise NotImplementedError


class Normal(Prior):
    def forward(self, rows):
        zero = torch.zeros(rows, 1, dtype=torch.float64)
        return Gaussian(zero, zero + 3.0)


def line_chain(steps=3, ratio=1.5):
    return Chain(Normal(), WalkbackGaussian(Affine(), ALPHA, sigma0=0.9, sigma_min=0.0), steps, temperature=Geometric(1.0, ratio))


def line_bound(theta, x, steps=3, ratio=1.5):
    """L of a linear-Gaussian chain, from the moments of its walk, step by step."""
    slope, shift = (1 - ALPHA) + ALPHA * theta[0], ALPHA * theta[1]
    noise = (0.9 * (1 + theta[2].exp()).log()) ** 2
    mean, variance, total = torch.tensor(x, dtype=torch.float64), torch.zeros((), dtype=torch.float64), 0.0
    for k in range(1, steps + 1):
        heated = noise * ratio ** (k - 1)
        following, spread = slope * mean + shift, slope**2 * variance + heated
        covariance = slope * variance
        miss = (mean - slope * following - shift) ** 2 + variance + slope**2 * spread - 2 * slope * covariance
        total = total - 0.5 * miss / heated + 0.5  # log p - log q; their normalisers cancel
        mean, variance = following, spread
    return total - 0.5 * (mean**2 + variance) / 3.0 - 0.5 * math.log(2 * math.pi * 3.0)


def test_the_reparametrised_gradient_averages_to_the_closed_form():
    chain = line_chain()
    theta = chain.operator.network.theta
    exact_value = line_bound(theta, 1.3)
    (exact,) = torch.autograd.grad(-exact_value, theta)
    estimates = []
    for trial in range(50):
        batch = Batch.of(torch.full((400, 1), 1.3, dtype=torch.float64))
        (loss,) = WalkbackBound().losses(chain, HeatedProcess(), batch, source=seeded("cpu", trial))
        (gradient,) = torch.autograd.grad(loss.value, theta)
        estimates.append(torch.cat([loss.value.detach().view(1), gradient]))
    found = torch.stack(estimates)
    deviation = (found.mean(0) - torch.cat([-exact_value.detach().view(1), exact])) / (found.std(0) / len(found) ** 0.5)
    assert float(deviation.abs().max()) < 4
    assert float((found.std(0) / len(found) ** 0.5).max()) < 0.05 * float(exact.norm())


def test_the_reparametrised_gradient_is_the_derivative_at_fixed_noise():
    chain = line_chain()
    theta = chain.operator.network.theta
    batch = Batch.of(torch.tensor([[0.4], [-1.0]], dtype=torch.float64))

    def value():
        (loss,) = WalkbackBound(walks=3).losses(chain, HeatedProcess(), batch, source=seeded("cpu", 9))
        return loss.value

    (gradient,) = torch.autograd.grad(value(), theta)
    for i in range(len(theta)):
        ends = []
        for offset in (1e-6, -2e-6):
            with torch.no_grad():
                theta[i] += offset
            ends.append(float(value().detach()))
        with torch.no_grad():
            theta[i] += 1e-6
        assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(float(gradient[i]), rel=1e-6, abs=1e-7)


def test_algorithm_1_sums_the_way_back_with_the_walk_held_fixed():
    chain, batch = line_chain(), Batch.of(torch.tensor([[0.4], [-1.0]], dtype=torch.float64))
    theta = chain.operator.network.theta
    losses = list(Walkback().losses(chain, HeatedProcess(), batch, source=seeded("cpu", 1)))
    (gradient,) = torch.autograd.grad(sum(loss.value for loss in losses), theta)
    states = [batch.origin, *(t.state for t in HeatedProcess().walk(chain, batch, source=seeded("cpu", 1)))]
    by_hand = 0.0
    for k in range(1, 4):
        mean = 0.5 * states[k] + 0.5 * (theta[0] * states[k] + theta[1])
        variance = 1.5 ** (k - 1) * (0.9 * (1 + theta[2].exp()).log()) ** 2
        by_hand = by_hand + (0.5 * (states[k - 1] - mean) ** 2 / variance + 0.5 * (2 * math.pi * variance).log()).mean()
    torch.testing.assert_close(sum(loss.value for loss in losses), by_hand)
    torch.testing.assert_close(gradient, torch.autograd.grad(by_hand, theta)[0])


def test_algorithm_1_trains_learned_temperatures_one_step_at_a_time():
    chain = bit_chain(3)
    chain.operator = chain.operator.inner
    for loss in Walkback().losses(chain, HeatedProcess(), Batch.of(STATES), source=seeded("cpu", 0)):
        loss.value.backward()
    assert bool((chain.temperature.log.grad != 0).all())


def test_the_bound_walks_each_example_as_often_as_asked():
    class Counting(HeatedProcess):
        def walk(self, chain, batch, **wanted):
            self.origin = batch.origin
            return super().walk(chain, batch, **wanted)

    process = Counting()
    list(WalkbackBound(walks=3, baseline="example").losses(line_chain(), process, Batch.of(torch.tensor([[1.0], [2.0]]).double())))
    assert process.origin.flatten().tolist() == [1, 1, 1, 2, 2, 2]


class Flip(Reversible):
    def sample(self, source=None):
        return STATES

    def log_target(self, value):
        return value.sum(1)


class FlipOperator(TransitionOperator):
    def forward(self, state, k, condition=None):
        return UntemperedKernel(Flip())


@pytest.mark.parametrize("objective", [Walkback(), WalkbackBound()])
def test_kernels_without_a_density_are_refused(objective):
    with pytest.raises(TypeError, match="needs kernels with a density"):
        list(objective.losses(Chain(LearnedBits(), FlipOperator(), 2, temperature=Constant()), HeatedProcess(), Batch.of(STATES)))


def test_the_bound_refuses_a_process_that_does_not_walk_away():
    class Elsewhere(ForwardProcess):
        def walk(self, chain, batch, **wanted):
            reverse = chain.operator(batch.origin, 1).at()
            yield Transition(k=1, steps=1, state=batch.origin, previous=batch.origin, origin=batch.origin, reverse=reverse)

    with pytest.raises(TypeError, match="walks away"):
        list(WalkbackBound().losses(line_chain(), Elsewhere(), Batch.of(torch.zeros(2, 1, dtype=torch.float64))))


@pytest.mark.parametrize("settings", [{"walks": 0}, {"baseline": "other"}, {"walks": 1, "baseline": "example"}])
def test_impossible_settings_of_the_bound_are_refused(settings):
    with pytest.raises(ValueError, match="walks"):
        WalkbackBound(**settings)
