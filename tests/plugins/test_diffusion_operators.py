"""Reverse operators against the kernels that they are built around."""

import math

import pytest
import torch
from torch import nn

from chainkit import Chain, Network, Prior
from chainkit.distributions import Gaussian
from chainkit.random import seeded
from chainkit.testing import oracles
from chainkit_diffusion import (
    BernoulliReverse,
    BinomialDiffusion,
    CosineVariances,
    DataPrediction,
    FixedVariances,
    GaussianDiffusion,
    GaussianReverse,
    HarmonicVariances,
    LearnedVariances,
    LinearVariances,
    NoisePrediction,
)

STEPS = 6


class Linear(Network):
    """Heads linear in the state and in k, or zero; the steps asked for are kept."""

    def __init__(self, heads, scale=1.0, dim=3, dtype=torch.float64):
        super().__init__()
        weight = scale * torch.empty(heads, dim, dim, dtype=dtype).normal_(generator=seeded("cpu", heads, dim))
        self.weight, self.asked = nn.Parameter(weight), []

    def forward(self, state, k, condition=None):
        self.asked.append(k)
        depth = k.view(-1, 1) if isinstance(k, torch.Tensor) else k
        return tuple(state @ weight + weight.sum(0) / depth for weight in self.weight)

    def bias_heads(self, biases):
        raise NotImplementedError


class Oracle(Network):
    """The noise of s_k, where all data is one point."""

    def __init__(self, process, origin):
        super().__init__()
        self.process, self.origin = process, origin

    def forward(self, state, k, condition=None):
        marginal = self.process.marginal(self.origin.expand_as(state), k)
        return ((state - marginal.mean) / marginal.variance.sqrt(),)

    def bias_heads(self, biases):
        raise NotImplementedError


class NormalPrior(Prior):
    def forward(self, rows):
        return Gaussian(torch.zeros(rows, 3, dtype=torch.float64), torch.ones((), dtype=torch.float64))


def states(rows=5):
    return torch.empty(rows, 3, dtype=torch.float64).normal_(generator=seeded("cpu", rows))


def bits(rows=5):
    return (states(rows) > 0).double()


def gaussian_reverse(scale=1.0, schedule=None, first_step="forward", mean="decay"):
    process = GaussianDiffusion(schedule or CosineVariances(), STEPS)
    return GaussianReverse(Linear(2, scale), process, mean=mean, first_step=first_step)


def shifted(scale=1.0, first_step="forward"):
    return gaussian_reverse(scale, first_step=first_step, mean="shift")


def bernoulli_reverse(scale=1.0, first_step="forward"):
    process = BinomialDiffusion(HarmonicVariances(), STEPS, torch.tensor([0.2, 0.5, 0.9]))
    return BernoulliReverse(Linear(1, scale), process, first_step=first_step)


@pytest.mark.parametrize("k", [1, 2, STEPS])
def test_with_a_silent_network_the_reverse_is_the_forward_kernel(k):
    for make in (gaussian_reverse, shifted):
        operator = make(scale=0.0, first_step="learned")
        found, expected = operator(states(), k).at(), operator.process.step(states(), k)
        torch.testing.assert_close(found.mean, expected.mean)
        torch.testing.assert_close(found.variance, expected.variance.expand(5, 3))
    operator = bernoulli_reverse(scale=0.0, first_step="learned")
    torch.testing.assert_close(operator(bits(), k).at().logits, operator.process.step(bits(), k).logits)


def test_the_gaussian_reverse_is_its_formula():
    operator, state = gaussian_reverse(), states()
    goal, tilt = operator.network(state, 3)
    b = operator.process.schedule.values(STEPS)[2]
    variance = (tilt + (b / (1 - b)).log()).sigmoid()
    found = operator(state, 3).at()
    torch.testing.assert_close(found.variance, variance)
    torch.testing.assert_close(found.mean, (1 - variance).sqrt() * state + (1 - (1 - variance).sqrt()) * goal)


def test_a_shifted_mean_moves_by_the_standard_deviation_of_the_forward_kernel():
    operator, state = shifted(), states()
    goal, tilt = operator.network(state, 3)
    b = operator.process.schedule.values(STEPS)[2]
    found = operator(state, 3).at()
    torch.testing.assert_close(found.mean, (1 - b).sqrt() * state + b.sqrt() * goal)
    torch.testing.assert_close(found.variance, (tilt + (b / (1 - b)).log()).sigmoid())


MEAN = torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64)
VARIANCE = torch.tensor([0.5, 1e-3, 2.0], dtype=torch.float64)


def data_prediction(scale=1.0):
    return DataPrediction(Linear(2, scale), GaussianDiffusion(LinearVariances(0.05, 0.6), STEPS), MEAN, VARIANCE)


@pytest.mark.parametrize("k", range(1, STEPS + 1))
def test_untrained_data_prediction_is_the_exact_reverse_for_independent_gaussian_elements(k):
    operator = data_prediction(scale=0.0)
    found = operator(states(), k).at()
    expected = oracles.GaussianReverse(operator.process, STEPS, MEAN, VARIANCE.diag())(states(), k).at()
    torch.testing.assert_close(found.log_prob(states(5) / 2), expected.log_prob(states(5) / 2))


def test_data_prediction_moves_from_there_in_units_of_what_is_not_known():
    operator, state, k = data_prediction(), states(), 3
    shift, scale = operator.network(state, k)
    marginal = operator.process.marginal(torch.ones(5, 3, dtype=torch.float64), k)
    signal, noise = marginal.mean, marginal.variance
    # The law of x given s_k, from precisions.
    variance = 1 / (1 / VARIANCE + signal**2 / noise)
    point = variance * (MEAN / VARIANCE + signal * state / noise) + variance.sqrt() * shift
    given = operator.process.posterior(state, point, k)
    share = operator.process.posterior(state, point + 1, k).mean - given.mean
    found = operator(state, k).at()
    torch.testing.assert_close(found.mean, given.mean)
    torch.testing.assert_close(found.variance, given.variance + share**2 * variance * (1 + (math.e - 1) * scale.exp()).log())


def test_data_prediction_takes_each_row_at_its_own_step():
    operator, mixed = data_prediction(), torch.tensor([1, 2, 1, STEPS, 3])
    rows = operator(states(), mixed).at()
    for i, k in enumerate(mixed.tolist()):
        alone = operator(states(), k).at()
        torch.testing.assert_close(rows.mean[i], alone.mean[i])
        torch.testing.assert_close(rows.variance[i], alone.variance[i])


def test_data_prediction_needs_elements_that_vary():
    with pytest.raises(ValueError, match="above 0, not 0"):
        DataPrediction(Linear(2), GaussianDiffusion(CosineVariances(), STEPS), MEAN, torch.tensor([1.0, 0.0, 1.0]))


def test_the_bernoulli_reverse_adds_to_the_odds_of_the_forward_kernel():
    operator, state = bernoulli_reverse(), bits()
    (head,) = operator.network(state, 3)
    torch.testing.assert_close(operator(state, 3).at().logits, operator.process.step(state, 3).mean.logit() + head)


@pytest.mark.parametrize(("make", "state"), [(gaussian_reverse, states()), (shifted, states()), (bernoulli_reverse, bits())])
def test_the_first_step_is_the_forward_kernel_whatever_the_network_says(make, state):
    operator, mixed = make(), torch.tensor([1, 2, 1, STEPS, 3])
    at_one = operator(state, 1).at()
    torch.testing.assert_close(at_one.mean, operator.process.step(state, 1).mean)
    rows = operator(state, mixed).at().mean
    torch.testing.assert_close(rows[[0, 2]], at_one.mean[[0, 2]])
    for i in (1, 3, 4):
        torch.testing.assert_close(rows[i], operator(state, int(mixed[i])).at().mean[i])
    assert not torch.allclose(make(first_step="learned")(state, 1).at().mean, at_one.mean)


@pytest.mark.parametrize(("make", "state"), [(gaussian_reverse, states()), (shifted, states()), (bernoulli_reverse, bits())])
def test_the_given_first_step_can_be_trained_on_and_has_gradient_zero(make, state):
    operator = make()
    operator(state, 1).at().log_prob(state).sum().backward()
    assert torch.equal(operator.network.weight.grad, torch.zeros_like(operator.network.weight))


def test_gradients_are_finite_where_a_step_leaves_nothing_of_the_data():
    operator = gaussian_reverse(schedule=HarmonicVariances())
    operator(states(), STEPS).at().log_prob(states()).sum().backward()
    gradient = operator.network.weight.grad
    assert bool(gradient.isfinite().all())
    assert bool((gradient[0] != 0).any())


def noise_prediction(variance="b", clip=None, network=None, steps=STEPS):
    return NoisePrediction(network or Linear(1), GaussianDiffusion(LinearVariances(0.05, 0.6), steps), variance=variance, clip=clip)


@pytest.mark.parametrize("k", [2, 4, STEPS])
def test_predicting_the_true_noise_gives_the_posterior(k):
    origin = states(1)
    process = GaussianDiffusion(LinearVariances(0.05, 0.6), STEPS)
    operator = NoisePrediction(Oracle(process, origin), process, variance="posterior")
    state = states()
    found, expected = operator(state, k).at(), process.posterior(state, origin.expand_as(state), k)
    torch.testing.assert_close(found.mean, expected.mean)
    torch.testing.assert_close(found.variance, expected.variance)


@pytest.mark.parametrize("variance", ["b", "posterior"])
def test_the_last_step_of_noise_prediction_decodes_around_the_predicted_data_point(variance):
    origin = states(1)
    process = GaussianDiffusion(LinearVariances(0.05, 0.6), STEPS)
    found = NoisePrediction(Oracle(process, origin), process, variance=variance)(states(), 1).at()
    torch.testing.assert_close(found.mean, origin.expand(5, 3))
    assert found.variance == 0.05


def test_noise_prediction_keeps_the_noise_with_gradient_at_every_temperature():
    operator = noise_prediction()
    heated = operator(states(), 3).at(2.0)
    (noise,) = operator.network(states(), 3)
    torch.testing.assert_close(heated.noise, noise)
    assert heated.noise.requires_grad
    torch.testing.assert_close(heated.variance, 2 * operator(states(), 3).at().variance)


def test_clipping_changes_nothing_within_the_range_and_holds_data_points_beyond_it():
    free, wide, tight = (noise_prediction(clip=clip)(states(), 3).at() for clip in (None, [-1e3, 1e3], [0.0, 0.0]))
    torch.testing.assert_close(wide.mean, free.mean)
    process = noise_prediction().process
    torch.testing.assert_close(tight.mean, process.posterior(states(), torch.zeros_like(states()), 3).mean)


def test_noise_prediction_refuses_a_schedule_that_leaves_nothing():
    with pytest.raises(ValueError, match="every b_k below 1"):
        NoisePrediction(Linear(1), GaussianDiffusion(HarmonicVariances(), 4))


@pytest.mark.parametrize("variance", ["b", "posterior"])
def test_respaced_to_all_steps_noise_prediction_is_what_it_was(variance):
    operator = noise_prediction(variance)
    respaced, k = operator.respaced(list(range(1, STEPS + 1))), torch.tensor([1, 2, 3, 5, 6])
    for found, expected in [(respaced(states(), j), operator(states(), j)) for j in (1, 4, k)]:
        torch.testing.assert_close(found.mean, expected.mean)
        torch.testing.assert_close(found.variance, expected.variance)


def test_respaced_noise_prediction_asks_the_network_at_trained_steps_and_jumps_between_them():
    origin = states(1)
    process = GaussianDiffusion(LinearVariances(0.05, 0.6), STEPS)
    operator = NoisePrediction(Oracle(process, origin), process, variance="posterior").respaced([2, 5, 6])
    before, after = process.marginal(origin, 2), process.marginal(origin, 5)
    # Draws of q(s_5 | x) taken one respaced step back have the moments of q(s_2 | x).
    kernel = operator(after.mean, 2).at()
    torch.testing.assert_close(kernel.mean, before.mean)
    slope = operator(after.mean + 1, 2).mean - kernel.mean
    torch.testing.assert_close(slope.square() * after.variance + kernel.variance, before.variance.expand_as(slope))


def test_a_chain_samples_with_fewer_steps_through_a_respaced_operator():
    operator = noise_prediction()
    chain = Chain(NormalPrior(), operator, STEPS, extend="respace")
    assert chain.sample(4, steps=3, source=seeded("cpu", 0)).state.shape == (4, 3)
    assert operator.network.asked == [6, 4, 2]


def test_a_chain_of_a_perfect_noise_predictor_samples_the_data_point():
    origin = states(1)
    process = GaussianDiffusion(CosineVariances(), 200)
    chain = Chain(NormalPrior(), NoisePrediction(Oracle(process, origin), process, variance="posterior"), 200, extend="respace")
    for steps in (200, 20):
        samples = chain.sample(8, steps=steps, source=seeded("cpu", 1))
        torch.testing.assert_close(samples.mean, origin.expand(8, 3), rtol=0, atol=1e-8)


@pytest.mark.parametrize("make", [gaussian_reverse, shifted, bernoulli_reverse, noise_prediction])
def test_kernels_are_in_single_precision_where_autocast_makes_the_network_half_precision(make):
    class Projection(Linear):
        def forward(self, state, k, condition=None):
            return tuple(state @ weight for weight in self.weight)

    operator = make()
    operator.network = Projection(len(operator.network.weight), dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        assert operator.network(bits().float(), 2)[0].dtype == torch.bfloat16
        distribution = operator(bits().float(), 2).at()
        log_prob = distribution.log_prob(bits().float())
    assert distribution.mean.dtype == log_prob.dtype == torch.float32


def test_a_learned_schedule_is_shared_with_the_operator_and_counted_once():
    process = GaussianDiffusion(LearnedVariances(torch.tensor([0.1, 0.2, 0.3])), 3)
    operator = GaussianReverse(Linear(2), process)
    assert sum(parameter is process.schedule.logits for parameter in nn.ModuleList([process, operator]).parameters()) == 1
    operator(states(), 3).at().variance.sum().backward()
    assert process.schedule.logits.grad[1] != 0


def test_a_single_variance_goes_with_any_rank_of_state():
    process = GaussianDiffusion(FixedVariances([0.3]), 2)
    image = torch.zeros(4, 2, 5, 5)
    assert process.posterior(image, image, torch.tensor([2, 2, 2, 2])).mean.shape == (4, 2, 5, 5)
