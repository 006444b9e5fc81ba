"""log w of heated walks against exact answers: enumerated chains of bits, linear-Gaussian chains."""

import itertools
import math

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal

from chainkit import Batch, Chain, Kernel, Network, Prior, Reversible, TransitionOperator, log_weights
from chainkit.data import Data
from chainkit.distributions import Bernoulli, Gaussian
from chainkit.random import seeded
from chainkit.transition import total_log_ratio
from chainkit_walkback import Geometric, HeatedProcess, WalkbackBernoulli, WalkbackGaussian

BITS, STEPS, ALPHA, RATIO = 2, 3, 0.5, 1.7
STATES = torch.tensor(list(itertools.product([0.0, 1.0], repeat=BITS)), dtype=torch.float64)
PATHS = torch.tensor(list(itertools.product(range(len(STATES)), repeat=STEPS)))
TEMPERATURES = [RATIO**k for k in range(STEPS)]


class LinearPerStep(Network):
    """W_k s + c_k, so that the operator depends on the step."""

    def __init__(self, steps, heads=1, dim=BITS):
        super().__init__()
        generator = seeded("cpu", 5)
        self.weight = nn.Parameter(torch.randn(steps, heads, dim, dim, generator=generator, dtype=torch.float64))
        self.shift = nn.Parameter(torch.randn(steps, heads, dim, generator=generator, dtype=torch.float64))

    def forward(self, state, k, condition=None):
        return tuple(state @ w.mT + c for w, c in zip(self.weight[k - 1], self.shift[k - 1], strict=True))

    def bias_heads(self, biases):
        raise NotImplementedError


class Bits(Prior):
    def __init__(self, logits):
        super().__init__()
        self.logits = torch.tensor(logits, dtype=torch.float64)

    def forward(self, rows):
        return Bernoulli(self.logits.expand(rows, -1))


class Follow(Kernel):
    """A kernel whose draws are the next states of given paths, for the sake of enumeration."""

    def __init__(self, inner, following):
        self.inner, self.following = inner, following

    def at(self, temperature=1.0):
        distribution = self.inner.at(temperature)
        distribution.sample = lambda source=None: self.following
        return distribution


class Following(TransitionOperator):
    """An operator that follows given paths [K, B, bits] through one walk."""

    def __init__(self, inner, paths):
        super().__init__()
        self.inner, self.ahead = inner, [*paths, None]

    def forward(self, state, k, condition=None):
        return Follow(self.inner(state, k, condition), self.ahead.pop(0))


def every_walk(operator, prior, origin):
    """log_ratio of each step, [K, paths], of all walks from one origin."""
    chain = Chain(prior, Following(operator, STATES[PATHS].transpose(0, 1)), STEPS, temperature=Geometric(1.0, RATIO))
    batch = Batch.of(STATES[origin].expand(len(PATHS), -1))
    with torch.no_grad():
        return torch.stack([transition.log_ratio for transition in HeatedProcess().walk(chain, batch, with_log_ratio=True)])


def bernoulli_matrix(network, k, temperature):
    """p_T(s' | s) of eq. 11, rows s, columns s'."""
    (proposal,) = network(STATES, k)
    rate = (((1 - ALPHA) * STATES + ALPHA * proposal) / temperature).sigmoid().detach()
    return torch.stack([(STATES * r + (1 - STATES) * (1 - r)).prod(1) for r in rate])


ENERGY = torch.tensor([0.3, -1.2, 0.8, 1.9], dtype=torch.float64)


class Metropolis(Reversible):
    def __init__(self, temperature):
        self.temperature = temperature

    def sample(self, source=None):
        raise NotImplementedError

    def log_target(self, value):
        return -ENERGY[(value @ torch.tensor([2.0, 1.0], dtype=torch.float64)).long()] / self.temperature


class MetropolisKernel(Kernel):
    def at(self, temperature=1.0):
        return Metropolis(temperature)


class MetropolisOperator(TransitionOperator):
    def forward(self, state, k, condition=None):
        return MetropolisKernel()


def metropolis_matrix(temperature):
    """One bit, chosen at random, is proposed to be flipped and taken with probability min(1, exp(-dE / T))."""
    matrix = torch.zeros(len(STATES), len(STATES), dtype=torch.float64)
    for i, bit in itertools.product(range(len(STATES)), range(BITS)):
        j = i ^ (1 << bit)
        matrix[i, j] = min(1.0, math.exp(-(ENERGY[j] - ENERGY[i]) / temperature)) / BITS
    return matrix + (1 - matrix.sum(1)).diag()


def bernoulli_case():
    network = LinearPerStep(STEPS)
    back = [bernoulli_matrix(network, k, t) for k, t in enumerate(TEMPERATURES, 1)]
    away = [bernoulli_matrix(network, max(k, 1), t) for k, t in enumerate(TEMPERATURES)]
    return WalkbackBernoulli(network, ALPHA), back, away


def metropolis_case():
    matrices = [metropolis_matrix(t) for t in TEMPERATURES]
    return MetropolisOperator(), matrices, matrices


PRIOR = Bits([0.4, -0.9])
PRIOR_MASS = torch.stack([(s * PRIOR.logits.sigmoid() + (1 - s) * (-PRIOR.logits).sigmoid()).prod() for s in STATES])
origins = pytest.mark.parametrize("origin", range(len(STATES)))


def path_probability(matrices, origin):
    at = torch.cat([torch.full((len(PATHS), 1), origin), PATHS], 1)
    return torch.stack([m[at[:, k], at[:, k + 1]] for k, m in enumerate(matrices)]).prod(0)


def marginal(matrices):
    """p(s_0) for every state: the prior, then the steps K..1."""
    mass = PRIOR_MASS
    for matrix in reversed(matrices):
        mass = mass @ matrix
    return mass


@origins
@pytest.mark.parametrize("case", [bernoulli_case, metropolis_case], ids=["bernoulli", "metropolis"])
def test_importance_weights_average_to_the_enumerated_likelihood(case, origin):
    operator, back, away = case()
    log_w = every_walk(operator, PRIOR, origin).sum(0)
    probability = path_probability(away, origin)
    assert float(probability.sum()) == pytest.approx(1, rel=1e-12)
    assert float((probability * log_w.exp()).sum()) == pytest.approx(float(marginal(back)[origin]), rel=1e-12)


@origins
@pytest.mark.parametrize("case", [bernoulli_case, metropolis_case], ids=["bernoulli", "metropolis"])
def test_the_bound_stays_below_the_enumerated_log_likelihood(case, origin):
    operator, back, away = case()
    bound = float((path_probability(away, origin) * every_walk(operator, PRIOR, origin).sum(0)).sum())
    exact = float(marginal(back)[origin].log())
    assert exact - 20 < bound < exact


@origins
def test_each_step_gives_the_ratio_of_its_two_probabilities(origin):
    operator, back, away = bernoulli_case()
    shares = every_walk(operator, PRIOR, origin)
    at = torch.cat([torch.full((len(PATHS), 1), origin), PATHS], 1)
    for k in range(STEPS):
        by_hand = back[k][at[:, k + 1], at[:, k]].log() - away[k][at[:, k], at[:, k + 1]].log()
        if k == STEPS - 1:
            by_hand = by_hand + PRIOR_MASS[at[:, STEPS]].log()
        torch.testing.assert_close(shares[k], by_hand)


def test_walks_are_drawn_with_their_enumerated_probabilities():
    operator, _, away = bernoulli_case()
    chain = Chain(PRIOR, operator, STEPS, temperature=Geometric(1.0, RATIO))
    n = 20_000
    walk = HeatedProcess().walk(chain, Batch.of(STATES[2].expand(n, -1)), source=seeded("cpu", 0))
    bits = torch.tensor([2.0, 1.0], dtype=torch.float64)
    path = [(transition.state @ bits).long() for transition in walk]
    counts = torch.bincount(path[0] * 16 + path[1] * 4 + path[2], minlength=len(PATHS))
    probability = path_probability(away, 2)
    deviation = (counts / n - probability) / (probability * (1 - probability) / n).sqrt()
    assert float(deviation.abs().max()) < 4.5  # 64 paths


class Affine(Network):
    """F_mu = W s + c, F_sigma the same everywhere."""

    def __init__(self, weight, shift, scale):
        super().__init__()
        self.weight, self.shift, self.scale = (torch.tensor(value, dtype=torch.float64) for value in (weight, shift, scale))

    def forward(self, state, k, condition=None):
        return state @ self.weight.mT + self.shift, self.scale.expand_as(state)

    def bias_heads(self, biases):
        raise NotImplementedError


class Normal(Prior):
    def forward(self, rows):
        return Gaussian(torch.full((rows, 2), 0.2, dtype=torch.float64), torch.full((rows, 2), 2.0, dtype=torch.float64))


def linear_gaussian():
    network = Affine([[0.3, 0.4], [-0.2, 0.5]], [0.2, -0.1], [0.4, 0.7])
    return Chain(Normal(), WalkbackGaussian(network, ALPHA, sigma0=0.8), STEPS, temperature=Geometric(1.0, RATIO))


def linear_gaussian_log_likelihood(x):
    """log p(x): the prior's moments carried through the K affine steps, by hand."""
    matrix = 0.5 * torch.eye(2, dtype=torch.float64) + 0.5 * torch.tensor([[0.3, 0.4], [-0.2, 0.5]], dtype=torch.float64)
    shift = 0.5 * torch.tensor([0.2, -0.1], dtype=torch.float64)
    noise = 1e-6 + (0.8 * torch.tensor([0.4, 0.7], dtype=torch.float64).exp().add(1).log()).square()
    mean, covariance = torch.full((2,), 0.2, dtype=torch.float64), 2.0 * torch.eye(2, dtype=torch.float64)
    for temperature in reversed(TEMPERATURES):
        mean = matrix @ mean + shift
        covariance = matrix @ covariance @ matrix.mT + temperature * noise.diag()
    return MultivariateNormal(mean, covariance).log_prob(x)


def test_importance_sampling_of_a_linear_gaussian_chain_agrees_with_its_exact_likelihood():
    x = 1.5 * torch.randn(12, 2, generator=seeded("cpu", 7), dtype=torch.float64)
    data, walks = Data.of(x), 4000
    data.to("cpu", torch.float64)
    examples = data.examples("train")
    log_w = log_weights(linear_gaussian(), HeatedProcess(), examples, walks)
    exact = linear_gaussian_log_likelihood(x.float().double())
    relative = (log_w - exact[:, None]).exp()
    deviation = (relative.mean(1) - 1) / (relative.std(1) / walks**0.5)
    assert float(deviation.abs().max()) < 4
    assert float((relative.std(1) / walks**0.5).max()) < 0.1  # the comparison is sharp
    error = log_w.std(1) / walks**0.5
    assert bool((log_w.mean(1) < exact + 4 * error).all())


def test_the_mean_of_log_w_is_the_bound_in_closed_form_where_p_and_q_are_one_step():
    """K = 1, F = 0, alpha = 1: p(x | s) = N(x; 0, v), q(s | x) = N(s; 0, v), p* = N(m, u)."""
    network = Affine([[0.0, 0.0], [0.0, 0.0]], [0.0, 0.0], [0.0, 0.0])
    operator = WalkbackGaussian(network, 1.0, sigma0=1.5, sigma_min=0.0)
    variance, n = (1.5 * math.log(2)) ** 2, 40_000
    batch = Batch.of(torch.tensor([[0.7, -1.1]], dtype=torch.float64)).repeat(n)
    log_w = total_log_ratio(HeatedProcess().walk(Chain(Normal(), operator, 1), batch, source=seeded("cpu", 2), with_log_ratio=True))
    squares = 0.7**2 + 1.1**2
    back = -squares / (2 * variance) - math.log(2 * math.pi * variance)
    entropy = 1 + math.log(2 * math.pi * variance)
    prior = -(variance + 0.2**2) / 2.0 - math.log(2 * math.pi * 2.0)
    assert abs(float(log_w.mean()) - (back + entropy + prior)) < 4 * float(log_w.std()) / n**0.5
