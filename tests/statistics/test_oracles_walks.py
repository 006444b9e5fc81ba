"""log w, the bound and the kernels of every registered operator and process, summed over all walks: no draws, no error but rounding."""

import math

import pytest
import torch
from torch.distributions import Bernoulli, Normal

from chainkit import log_weights
from chainkit.capabilities import Posteriors
from chainkit.distributions import Gaussian
from chainkit.testing.oracles import LinearGaussian, every_walk

ROUNDING = 1e-9
"""Of sums over up to 60 000 walks in float64; the trapezoidal rule adds nothing to it."""


def model_steps(chain, walks):
    """p(s_{k-1} | s_k) at T_k for k = 1..K, and the prior, at the states of all walks."""
    temperatures = chain.temperatures()
    steps = [chain.operator(walks.states[k], k).at(temperatures[k - 1]) for k in range(1, chain.steps + 1)]
    return [*steps, chain.prior(len(walks.log_q))]


def log_joint(chain, walks):
    """log p(x, s_1..s_K), factor by factor."""
    return sum(law.log_prob(state) for law, state in zip(model_steps(chain, walks), walks.states, strict=True))


def heated(chain, process, walks):
    """q(s_k | s_{k-1}) = p_{T_k}(s_k | s_{k-1}), evaluated with the index max(k - 1, 1)."""
    temperatures = chain.temperatures()
    return sum(
        chain.operator(walks.states[k - 1], max(k - 1, 1)).at(temperatures[k - 1]).log_prob(walks.states[k])
        for k in range(1, chain.steps + 1)
    )


def infused(chain, process, walks, near):
    """(1 - alpha) p + alpha delta_x for each element, alpha = 0.15 + 0.25 t to 16 bits, t = K - k."""
    total = 0.0
    for k, model in enumerate(model_steps(chain, walks)[1:], 1):
        rate = round((0.15 + 0.25 * (chain.steps - k)) * 2**16) / 2**16
        kept = model.log_prob_elementwise(walks.states[k]) + math.log(1 - rate)
        total = total + torch.logaddexp(kept, near(walks).log_prob(walks.states[k]) + math.log(rate)).sum(1)
    return total


def variances(steps):
    """0.25 to 0.6, evenly."""
    return [0.25 + 0.35 * k / (steps - 1) for k in range(steps)]


def binomial(chain, process, walks):
    """Bits redrawn from the rates of the prior with probability b_k."""
    rates, total = torch.tensor([0.3, 0.6], dtype=torch.float64), 0.0
    for k, b in enumerate(variances(chain.steps), 1):
        total = total + Bernoulli((1 - b) * walks.states[k - 1] + b * rates).log_prob(walks.states[k]).sum(1)
    return total


def diffusion(chain, process, walks):
    """N(sqrt(1 - b_k) s_{k-1}, b_k)."""
    total = 0.0
    for k, b in enumerate(variances(chain.steps), 1):
        total = total + Normal((1 - b) ** 0.5 * walks.states[k - 1], b**0.5).log_prob(walks.states[k]).sum(1)
    return total


DEFINITIONS = {
    "heated": heated,
    "infusion": lambda *given: infused(*given, lambda walks: Normal(walks.states[0], 0.06**0.5)),
    "infusion-binary": lambda *given: infused(*given, lambda walks: Bernoulli(0.8 * walks.states[0] + 0.1)),
    "diffusion-binomial": binomial,
    "diffusion-gaussian": diffusion,
}
"""log q(s_1..s_K | x) as the papers define it, by the name of the process."""


@torch.no_grad()
def test_the_probabilities_of_all_walks_sum_to_1_and_their_weights_to_p_of_x(case, point):
    chain, process = case.build()
    walks = every_walk(chain, process, point(case), case.support)
    exact = float(case.support.log_prob(chain, point(case)))
    assert walks.mass == pytest.approx(1, abs=ROUNDING)
    assert walks.log_likelihood == pytest.approx(exact, abs=ROUNDING)
    assert -math.inf < walks.bound <= exact + ROUNDING


@torch.no_grad()
def test_log_w_of_every_walk_is_the_difference_of_the_two_joint_distributions(case, point):
    chain, process = case.build()
    walks = every_walk(chain, process, point(case), case.support)
    likely = walks.log_q > -200
    torch.testing.assert_close(walks.log_w[likely], (log_joint(chain, walks) - walks.log_q)[likely], rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_walks_are_drawn_from_q_as_the_paper_defines_it(case, point):
    if case.process.name not in DEFINITIONS:
        pytest.skip(f"q of the process {case.process.name} is not written down in {__name__}.DEFINITIONS")
    chain, process = case.build()
    walks = every_walk(chain, process, point(case), case.support)
    torch.testing.assert_close(walks.log_q, DEFINITIONS[case.process.name](chain, process, walks), rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_kernels_integrate_to_1_at_their_temperatures(case):
    chain, support = case.build()[0], case.support
    inside = support.states.abs().amax(1) < 4
    for k in range(1, chain.steps + 1):
        total = torch.logsumexp(support.log_matrix(chain, k) + support.log_measure, 1)
        torch.testing.assert_close(total[inside], torch.zeros_like(total[inside]), rtol=0, atol=1e-6)


@torch.no_grad()
def test_p_of_x_sums_to_1(case):
    chain, support = case.build()[0], case.support
    assert float(torch.logsumexp(support.log_law(chain) + support.log_measure, 0)) == pytest.approx(0, abs=1e-6)


@torch.no_grad()
def test_a_posterior_averaged_over_the_marginal_is_the_marginal_one_step_before(case, point):
    chain, process = case.build()
    if not isinstance(process, Posteriors):
        pytest.skip(f"{case.process.name} has no posterior")
    support = case.support
    origin = point(case).expand_as(support.states)
    for k in range(2, chain.steps + 1):
        arrived = process.marginal(origin, k).log_prob(support.states) + support.log_measure
        back = process.posterior(support.states, origin, k)
        before = torch.stack([back.log_prob(state.expand_as(support.states)) for state in support.states], 1)
        found = torch.logsumexp(arrived[:, None] + before, 0)
        near = support.states.abs().amax(1) < 4
        torch.testing.assert_close(found[near], process.marginal(origin, k - 1).log_prob(support.states)[near], rtol=1e-7, atol=1e-7)


@torch.no_grad()
def test_closed_forms_of_linear_gaussian_chains_agree_with_the_sums(case, point):
    chain, process = case.build()
    if not isinstance(chain.prior(1), Gaussian):
        pytest.skip("bits")
    oracle, x = LinearGaussian((1,)), point(case)
    try:
        exact = float(oracle.log_prob(chain, x))
    except ValueError:
        pytest.skip(f"{case.operator.name} is not linear-Gaussian")
    assert exact == pytest.approx(float(case.support.log_prob(chain, x)), abs=1e-9)
    temperatures = chain.temperatures()
    forwards = {
        "heated": lambda state, k: chain.operator(state, max(k - 1, 1)).at(temperatures[k - 1]),
        "diffusion-gaussian": lambda state, k: Gaussian((1 - variances(2)[k - 1]) ** 0.5 * state, state.new_tensor(variances(2)[k - 1])),
    }
    if case.process.name in forwards:
        bound = float(oracle.bound(chain, forwards[case.process.name], x))
        assert bound == pytest.approx(every_walk(chain, process, x, case.support).bound, abs=1e-8)


def test_drawn_walks_have_the_weights_that_the_sums_say(home_case):
    """4000 walks from each of 2 examples: means of log w, and of w / p(x), within 5 of their exact standard errors.

    Where the weights vary by more than their mean they are capped at 20 times it, so that 4000 draws
    are many: their expectation is summed like any other.
    """
    case = home_case
    chain, process = case.build()
    data = case.data()
    data.to("cpu", torch.float64)
    examples, n = data.examples("train", 2, seed=0), 4000
    x = torch.cat([batch.origin for batch in examples.batches(2)])
    for row, drawn in zip(x, log_weights(chain, process, examples, n), strict=True):
        walks = every_walk(chain, process, row[None], case.support)

        def compare(drawn, every, walks=walks):
            mean = walks.expectation(every)
            error = (walks.expectation((every - mean).square()) / n).sqrt() + ROUNDING
            assert abs(drawn.mean() - mean) < 5 * error

        exact = walks.log_likelihood
        spread = walks.expectation((2 * (walks.log_w - exact)).exp()) - 1
        cap = math.inf if spread < 1 else 20.0
        compare((drawn - exact).exp().clamp(max=cap), (walks.log_w - exact).exp().clamp(max=cap))
        compare(drawn, walks.log_w)


def test_everything_that_is_shipped_is_compared(every_case, host):
    """What has a density and a process to go with is in some case."""
    met = {case.operator.name for case in every_case} | {case.process.name for case in every_case}
    own = {"diffusion", "infusion", "walkback", "oracles"}
    shipped = {
        entry.component.name for kind in ("operator", "process") for entry in host.registry.entries(kind) if entry.plugin.name in own
    }
    assert shipped <= met
