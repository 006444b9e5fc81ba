"""log w of fixed diffusions against exact likelihoods: Gaussian data with its exact reverse, and enumerated bits."""

import itertools
import weakref

import pytest
import torch
from torch import nn

from chainkit import Batch, Chain, Prior, Schedule, TransitionOperator
from chainkit.distributions import Bernoulli, Gaussian
from chainkit.kernel import BernoulliKernel, GaussianKernel
from chainkit.random import Rows, seeded
from chainkit.transition import total_log_ratio
from chainkit_diffusion import BinomialDiffusion, FixedVariances, GaussianDiffusion, HarmonicVariances, LinearVariances
from chainkit_diffusion.steps import pick

DATA_VARIANCE = 0.25
RATE = torch.tensor([0.3, 0.6], dtype=torch.float64)
STATES = torch.tensor(list(itertools.product([0.0, 1.0], repeat=2)), dtype=torch.float64)


class NormalPrior(Prior):
    def __init__(self, variance, dim=3):
        super().__init__()
        self.variance, self.dim = variance, dim

    def forward(self, rows):
        return Gaussian(torch.zeros(rows, self.dim, dtype=torch.float64), self.variance)


class BitPrior(Prior):
    def forward(self, rows):
        return Bernoulli(RATE.logit().expand(rows, 2))


class ExactReverse(TransitionOperator):
    """p(s_{k-1} | s_k) of data N(0, c), by Gaussian conditioning; or with the variance b_k in place of the exact one."""

    def __init__(self, process, exact=True):
        super().__init__()
        kept = torch.cat([torch.ones(1, dtype=torch.float64), (1 - process.schedule.values(process.steps)).cumprod(0)])
        self.variances = kept * DATA_VARIANCE + 1 - kept
        self.step = process.schedule.values(process.steps)
        self.exact = exact

    def forward(self, state, k, condition=None):
        shrink = self.variances[:-1] / self.variances[1:]
        variance = self.step * shrink if self.exact else self.step
        return GaussianKernel(pick((1 - self.step).sqrt() * shrink, k, state) * state, pick(variance, k, state))


class Correlated(TransitionOperator):
    """Log odds that depend on both bits and on k, evaluations counted, outputs watched."""

    def __init__(self):
        super().__init__()
        mixing = torch.empty(2, 2, dtype=torch.float64).normal_(generator=seeded("cpu", 3))
        self.mixing, self.rows, self.alive, self.outputs = nn.Parameter(mixing), [], [], []

    def forward(self, state, k, condition=None):
        self.alive.append(sum(output() is not None for output in self.outputs))
        self.rows.append(len(state))
        depth = pick(torch.arange(1, 4, dtype=torch.float64), k, state) if not isinstance(k, int) else float(k)
        logits = (2 * state - 1) @ self.mixing + 2 * (2 * state - 1) / depth
        self.outputs.append(weakref.ref(logits))
        return BernoulliKernel(logits)


def gaussian(steps, exact=True):
    process = GaussianDiffusion(FixedVariances([-torch.tensor(-3.0 / steps, dtype=torch.float64).expm1().item()]), steps)
    operator = ExactReverse(process, exact)
    return Chain(NormalPrior(operator.variances[-1]), operator, steps), process


def binomial():
    process = BinomialDiffusion(FixedVariances([0.2, 0.5, 0.4]), 3, RATE)
    return Chain(BitPrior(), Correlated(), 3), process


def data(rows, key=0):
    return Batch.of(DATA_VARIANCE**0.5 * torch.empty(rows, 3, dtype=torch.float64).normal_(generator=seeded("cpu", "data", key)))


def log_density(batch):
    origin = batch.origin.double()
    return Gaussian(torch.zeros_like(origin), torch.tensor(DATA_VARIANCE, dtype=torch.float64)).log_prob(origin)


def log_joint(chain, process, path):
    """log p(s_0..s_3) and log q(s_1..s_3 | s_0), factor by factor."""
    log_p = chain.prior(len(path[3])).log_prob(path[3])
    log_q = torch.zeros_like(log_p)
    for k in (1, 2, 3):
        log_p = log_p + chain.operator(path[k], k).at(1.0).log_prob(path[k - 1])
        log_q = log_q + process.step(path[k - 1], k).log_prob(path[k])
    return log_p.detach(), log_q


def enumerated(chain, process):
    """For every x, a table [4 data points, 64 walks] of log p and log q."""
    walks = torch.tensor(list(itertools.product(range(4), repeat=4)))
    log_p, log_q = log_joint(chain, process, [STATES[walks[:, k]] for k in range(4)])
    return log_p.view(4, 64), log_q.view(4, 64)


@pytest.mark.parametrize("steps", [1, 2, 5, 50])
def test_every_walk_gives_log_p_of_x_under_the_exact_reverse_of_gaussian_data(steps):
    chain, process = gaussian(steps)
    batch = data(40)
    exact = log_density(batch)
    log_w = total_log_ratio(process.walk(chain, batch, source=seeded("cpu", steps), with_log_ratio=True))
    torch.testing.assert_close(log_w, exact, rtol=0, atol=1e-10)


def test_with_reverse_variance_b_the_gap_is_its_closed_form_and_falls_as_one_over_the_steps():
    closed = []
    for steps in (8, 16, 64, 128):
        chain, process = gaussian(steps, exact=False)
        shrink = chain.operator.variances[:-1] / chain.operator.variances[1:]
        closed.append(3 * 0.5 * (shrink - 1 - shrink.log()).sum().item())
        batch = data(4000, steps)
        exact = log_density(batch)
        gap = exact - total_log_ratio(process.walk(chain, batch, source=seeded("cpu", steps), with_log_ratio=True))
        assert abs(gap.mean().item() - closed[-1]) < 4 * gap.std().item() / 4000**0.5
    assert closed[2] / closed[3] == pytest.approx(2, rel=0.02)
    assert closed[0] > closed[1] > closed[2]


def test_the_share_of_every_walk_sums_to_the_ratio_of_the_two_joint_distributions():
    chain, process = binomial()
    batch = Batch.of(STATES.repeat(50, 1))
    walk = list(process.walk(chain, batch, source=seeded("cpu", 1), with_log_ratio=True))
    assert [transition.k for transition in walk] == [3, 2, 1]
    assert walk[2].previous is batch.origin
    log_p, log_q = log_joint(chain, process, [batch.origin, *(transition.state for transition in reversed(walk))])
    torch.testing.assert_close(total_log_ratio(walk).detach(), log_p - log_q, rtol=0, atol=1e-12)


def test_walks_follow_the_enumerated_forward_process():
    chain, process = binomial()
    n = 40_000
    walk = list(process.walk(chain, Batch.of(STATES[1:2].expand(n, 2)), source=seeded("cpu", 2)))
    code = sum(4**i * (2 * t.state[:, 0] + t.state[:, 1]) for i, t in enumerate(walk)).long()
    expected = enumerated(chain, process)[1][1].exp()
    counts = torch.bincount(code, minlength=64)
    error = (expected * (1 - expected) / n).sqrt()
    assert bool(((counts / n - expected).abs() < 4.5 * error).all())


def test_importance_weights_average_to_the_exact_likelihood_and_their_logarithm_to_the_bound():
    chain, process = binomial()
    log_p, log_q = enumerated(chain, process)
    likelihood, bound = log_p.exp().sum(1), (log_q.exp() * (log_p - log_q)).sum(1)
    assert likelihood.sum().item() == pytest.approx(1, abs=1e-12)
    n = 20_000
    batch = Batch.of(STATES.repeat_interleave(n, 0))
    log_w = total_log_ratio(process.walk(chain, batch, source=seeded("cpu", 4), with_log_ratio=True)).detach().view(4, n)
    weights = log_w.exp()
    assert bool(((weights.mean(1) - likelihood).abs() < 4 * weights.std(1) / n**0.5).all())
    assert bool(((log_w.mean(1) - bound).abs() < 4 * log_w.std(1) / n**0.5).all())
    assert bool((bound < likelihood.log()).all())


def test_one_random_step_times_its_weight_is_unbiased_for_the_bound():
    chain, process = binomial()
    log_p, log_q = enumerated(chain, process)
    bound = (log_q.exp() * (log_p - log_q)).sum(1)
    n = 40_000
    k = torch.randint(1, 4, (4 * n,), generator=seeded("cpu", "k"))
    transition = process.visit(chain, Batch.of(STATES.repeat_interleave(n, 0)), k, source=seeded("cpu", 5), with_log_ratio=True)
    shares = (transition.weight * transition.log_ratio).detach().view(4, n)
    assert transition.weight == 3
    assert bool(((shares.mean(1) - bound).abs() < 4 * shares.std(1) / n**0.5).all())


@pytest.mark.parametrize("make", [binomial, lambda: gaussian(3)])
def test_rows_at_different_steps_are_each_what_a_visit_of_their_step_alone_gives(make):
    chain, process = make()
    origin = STATES if isinstance(process, BinomialDiffusion) else data(4).origin
    k = torch.tensor([3, 1, 2, 1])

    def source(rows):
        return Rows([seeded("cpu", "row", i) for i in rows])

    together = process.visit(chain, Batch.of(origin), k, source=source(range(4)), with_log_ratio=True)
    for i in range(4):
        alone = process.visit(chain, Batch.of(origin[i : i + 1]), int(k[i]), source=source([i]), with_log_ratio=True)
        assert torch.equal(together.state[i], alone.state[0])
        assert torch.equal(together.previous[i], alone.previous[0])
        torch.testing.assert_close(together.log_ratio[i], alone.log_ratio[0])
    assert torch.equal(together.previous[1], origin[1])


def test_a_visit_of_a_chain_of_one_step_goes_to_the_data():
    chain, process = gaussian(1)
    batch = data(5)
    for k in (1, torch.ones(5, dtype=torch.long)):
        transition = process.visit(chain, batch, k, source=seeded("cpu", 6), with_log_ratio=True)
        assert torch.equal(transition.previous, batch.origin)
        exact = log_density(batch)
        torch.testing.assert_close(transition.log_ratio, exact)


def test_a_walk_evaluates_the_operator_once_per_state_and_a_visit_once():
    chain, process = binomial()
    batch = Batch.of(STATES)
    total_log_ratio(process.walk(chain, batch, source=seeded("cpu", 7), with_log_ratio=True))
    assert chain.operator.rows == [4, 4, 4]
    process.visit(chain, batch, torch.tensor([1, 2, 3, 3]), source=seeded("cpu", 7), with_log_ratio=True)
    assert chain.operator.rows == [4, 4, 4, 4]


def test_a_walk_holds_nothing_of_the_steps_before():
    chain, process = binomial()
    for transition in process.walk(chain, Batch.of(STATES), source=seeded("cpu", 8)):
        del transition
    assert chain.operator.alive == [0, 0, 0]


def test_the_states_of_a_row_do_not_depend_on_its_batch_mates():
    chain, process = gaussian(4)
    batch = data(3)

    def log_w(rows):
        source = Rows([seeded("cpu", "row", i) for i in rows])
        return total_log_ratio(process.walk(chain, Batch.of(batch.origin[list(rows)]), source=source, with_log_ratio=True))

    assert torch.equal(log_w([0, 1, 2])[1:2], log_w([1]))


def test_temperatures_are_taken_per_step_and_per_row():
    class Rising(Schedule):
        def values(self, steps):
            return torch.arange(1, steps + 1, dtype=torch.float64)

    chain, process = gaussian(3)
    heated = Chain(chain.prior, chain.operator, 3, temperature=Rising())
    k = torch.tensor([1, 3, 2])
    plain = process.visit(chain, data(3), k, source=seeded("cpu", 9)).reverse
    found = process.visit(heated, data(3), k, source=seeded("cpu", 9)).reverse
    torch.testing.assert_close(found.variance, plain.variance * k.view(3, 1))
    for transition in process.walk(heated, data(3), source=seeded("cpu", 9)):
        torch.testing.assert_close(transition.reverse.variance, chain.operator(transition.state, transition.k).variance * transition.k)


def test_a_chain_of_another_length_is_refused():
    chain, process = gaussian(4)
    shorter = Chain(chain.prior, chain.operator, 3)
    with pytest.raises(ValueError, match="4 steps cannot train a chain of 3"):
        next(process.walk(shorter, data(1)))
    with pytest.raises(ValueError, match="4 steps cannot train a chain of 3"):
        process.visit(shorter, data(1), 2)


@pytest.mark.parametrize("schedule", [LinearVariances(), HarmonicVariances()])
def test_two_thousand_steps_in_single_precision_give_the_double_precision_likelihood(schedule):
    process = GaussianDiffusion(schedule, 2000)
    operator = ExactReverse(process)
    chain = Chain(NormalPrior(operator.variances[-1].float()), operator, 2000)
    batch = Batch.of(data(4).origin.float())
    exact = log_density(batch)
    log_w = total_log_ratio(process.walk(chain, batch, source=seeded("cpu", 10), with_log_ratio=True))
    torch.testing.assert_close(log_w, exact, rtol=0, atol=5e-3)
