"""Marginals and posteriors of fixed diffusions against their definitions: composed single steps, and Bayes' rule."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chainkit.random import seeded
from chainkit_diffusion import BinomialDiffusion, FixedVariances, GaussianDiffusion, HarmonicVariances, LearnedVariances, LinearVariances

variances = st.lists(st.floats(1e-6, 1 - 1e-6), min_size=2, max_size=8)
bits = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
RATE = torch.tensor([0.2, 0.7], dtype=torch.float64)


def numbers(*shape):
    return torch.empty(shape, dtype=torch.float64).normal_(generator=seeded("cpu", 0, *shape))


@settings(max_examples=50, deadline=None)
@given(variances)
def test_gaussian_marginals_are_composed_steps(schedule):
    process, origin = GaussianDiffusion(FixedVariances(schedule), len(schedule)), numbers(5, 3)
    mean, variance = origin, torch.zeros((), dtype=torch.float64)
    for k in range(1, process.steps + 1):
        step = process.step(mean, k)
        mean, variance = step.mean, (1 - schedule[k - 1]) * variance + step.variance
        marginal = process.marginal(origin, k)
        torch.testing.assert_close(marginal.mean, mean, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(marginal.variance, variance, rtol=1e-9, atol=0)


def bayes(process, before, origin, after, k):
    """log q(s_k | s_{k-1}) + log q(s_{k-1} | x), and the same joint the other way round."""
    forward = process.step(before, k).log_prob(after) + process.marginal(origin, k - 1).log_prob(before)
    backward = process.posterior(after, origin, k).log_prob(before) + process.marginal(origin, k).log_prob(after)
    return forward, backward


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(1e-3, 0.99), min_size=2, max_size=8))
def test_gaussian_posteriors_obey_bayes_rule(schedule):
    process = GaussianDiffusion(FixedVariances(schedule), len(schedule))
    before, origin, after = numbers(3, 20, 4)
    for k in range(2, process.steps + 1):
        torch.testing.assert_close(*bayes(process, before, origin, after, k), rtol=1e-8, atol=1e-8)


def test_a_gaussian_posterior_of_a_last_variance_of_one_forgets_the_state():
    process, (state, origin) = GaussianDiffusion(HarmonicVariances(), 5), numbers(2, 6, 2)
    found, expected = process.posterior(state, origin, 5), process.marginal(origin, 4)
    torch.testing.assert_close(found.mean, expected.mean)
    torch.testing.assert_close(found.variance, expected.variance)


@settings(max_examples=50, deadline=None)
@given(variances)
def test_binomial_marginals_are_composed_steps(schedule):
    process = BinomialDiffusion(FixedVariances(schedule), len(schedule), RATE)
    one, zero = torch.ones(1, 2, dtype=torch.float64), torch.zeros(1, 2, dtype=torch.float64)
    rate = bits
    for k in range(1, process.steps + 1):
        rate = rate * process.step(one, k).mean + (1 - rate) * process.step(zero, k).mean
        torch.testing.assert_close(process.marginal(bits, k).mean, rate, rtol=1e-9, atol=1e-12)


def test_a_binomial_step_redraws_a_bit_from_the_prior_with_probability_b():
    process = BinomialDiffusion(FixedVariances([0.1, 0.4]), 2, RATE)
    torch.testing.assert_close(process.step(bits, 2).mean, 0.6 * bits + 0.4 * RATE)


@settings(max_examples=50, deadline=None)
@given(variances)
def test_binomial_posteriors_obey_bayes_rule_and_are_normalised(schedule):
    process = BinomialDiffusion(FixedVariances(schedule), len(schedule), RATE)
    before, origin, after = (part.reshape(-1, 2) for part in torch.broadcast_tensors(bits[:, None, None], bits[:, None], bits))
    for k in range(2, process.steps + 1):
        forward, backward = bayes(process, before, origin, after, k)
        torch.testing.assert_close(forward, backward, rtol=1e-8, atol=1e-8)
        total = process.posterior(after, origin, k).log_prob(before).exp().reshape(4, 16).sum(0)
        torch.testing.assert_close(total, torch.ones_like(total))


def test_two_thousand_harmonic_steps_end_exactly_in_the_prior():
    process = BinomialDiffusion(HarmonicVariances(), 2000, RATE)
    logits = process.marginal(bits, 2000).logits
    assert bool((logits == logits[0]).all())
    torch.testing.assert_close(logits[0], RATE.logit(), rtol=1e-14, atol=0)
    in_single = process.float().marginal(bits.float(), 2000).logits
    assert bool((in_single == in_single[0]).all())
    torch.testing.assert_close(in_single[0], RATE.logit().float(), rtol=1e-6, atol=1e-7)


STATIONS = (2, 3, 1000, 1999, 2000)


@pytest.mark.parametrize("schedule", [LinearVariances(), HarmonicVariances()])
def test_two_thousand_gaussian_steps_agree_in_single_and_double_precision(schedule):
    process, (state, origin) = GaussianDiffusion(schedule, 2000), numbers(2, 4, 3)
    for k in STATIONS:
        exact, rough = process.posterior(state, origin, k), process.posterior(state.float(), origin.float(), k)
        torch.testing.assert_close(rough.mean, exact.mean.float(), rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(rough.variance, exact.variance.float(), rtol=1e-6, atol=0)
        exact, rough = process.marginal(origin, k), process.marginal(origin.float(), k)
        torch.testing.assert_close(rough.mean, exact.mean.float(), rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(rough.variance, exact.variance.float(), rtol=1e-6, atol=0)


def test_two_thousand_binomial_steps_agree_in_single_and_double_precision():
    process = BinomialDiffusion(HarmonicVariances(), 2000, RATE)
    for k in STATIONS:
        exact, rough = process.posterior(bits, bits.flip(0), k), process.posterior(bits.float(), bits.flip(0).float(), k)
        torch.testing.assert_close(rough.logits, exact.logits.float(), rtol=1e-6, atol=2e-6)
        assert bool(rough.logits.isfinite().all())


@pytest.mark.parametrize(
    "process", [GaussianDiffusion(LinearVariances(0.1, 0.6), 6), BinomialDiffusion(LinearVariances(0.1, 0.6), 6, RATE)]
)
def test_a_step_for_each_row_is_that_row_at_its_step(process):
    k = torch.tensor([2, 6, 3, 2])
    state = bits.flip(0)
    rows = [process.marginal(bits[i : i + 1], int(k[i])).log_prob(state[i : i + 1]) for i in range(4)]
    torch.testing.assert_close(process.marginal(bits, k).log_prob(state), torch.cat(rows))
    rows = [process.posterior(state[i : i + 1], bits[i : i + 1], int(k[i])).log_prob(bits[i : i + 1]) for i in range(4)]
    torch.testing.assert_close(process.posterior(state, bits, k).log_prob(bits), torch.cat(rows))
    rows = [process.step(state[i : i + 1], int(k[i])).log_prob(bits[i : i + 1]) for i in range(4)]
    torch.testing.assert_close(process.step(state, k).log_prob(bits), torch.cat(rows))


def test_steps_outside_the_diffusion_are_refused():
    process = GaussianDiffusion(LinearVariances(), 3)
    for k in (0, 4):
        with pytest.raises(IndexError, match=f"step {k} of a diffusion of 3"):
            process.marginal(bits, k)


@pytest.mark.parametrize("bad", [0.0, -0.1, 1.5])
def test_variances_outside_their_range_are_refused(bad):
    with pytest.raises(ValueError, match="above 0 and at most at 1"):
        GaussianDiffusion(FixedVariances([0.5, bad]), 2)


def test_a_binomial_diffusion_refuses_a_learned_schedule_and_rates_of_zero():
    with pytest.raises(ValueError, match="cannot learn its schedule"):
        BinomialDiffusion(LearnedVariances(torch.tensor([0.1, 0.2])), 2)
    with pytest.raises(ValueError, match=r"inside \(0, 1\)"):
        BinomialDiffusion(LinearVariances(), 2, 0.0)


def test_tables_of_a_fixed_schedule_are_made_once_and_serve_training_even_if_made_in_inference_mode():
    process = GaussianDiffusion(LinearVariances(), 10)
    with torch.inference_mode():
        first = process.table(torch.device("cpu"))
    assert process.table(torch.device("cpu")) is first
    origin = bits.clone().requires_grad_()
    process.marginal(origin, 3).mean.sum().backward()
    torch.testing.assert_close(origin.grad, first.signal[2].expand(4, 2))


def test_tables_of_a_learned_schedule_follow_its_parameters_and_those_of_a_copy_do_not():
    process = GaussianDiffusion(LearnedVariances(torch.tensor([0.1, 0.2, 0.3])), 3)
    twin = copy.deepcopy(process)
    before = process.marginal(bits, 3).variance.detach()
    with torch.no_grad():
        process.schedule.logits += 1
    assert process.marginal(bits, 3).variance > before
    assert twin.marginal(bits, 3).variance == before
    twin.load_state_dict(process.state_dict())
    assert twin.marginal(bits, 3).variance == process.marginal(bits, 3).variance


def test_a_respaced_diffusion_has_the_same_marginals_at_the_steps_that_are_left():
    process, steps = GaussianDiffusion(LinearVariances(1e-4, 0.05), 1000), [1, 17, 500, 1000]
    respaced = process.respaced(steps)
    assert respaced.steps == 4
    for j, k in enumerate(steps, 1):
        found, expected = respaced.marginal(bits, j), process.marginal(bits, k)
        torch.testing.assert_close(found.mean, expected.mean, rtol=1e-11, atol=1e-13)
        torch.testing.assert_close(found.variance, expected.variance, rtol=1e-11, atol=0)
