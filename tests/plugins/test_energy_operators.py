"""Operators of energies: detailed balance and invariant laws, against exact answers."""

import math

import pytest
import torch
from torch import Tensor

from chainkit.chain import Chain
from chainkit.component import Context
from chainkit.data import Data
from chainkit.distributions import Gaussian
from chainkit.host import load_plugins
from chainkit.random import normal, seeded, uniform
from chainkit.testing import tiny_data
from chainkit_energy import RBM, BlockGibbs, Energy, GaussianRBM, Gibbs, Hamiltonian, Langevin
from chainkit_energy.enumerated import settings
from chainkit_energy.tempering import tempered
from chainkit_priors import BernoulliPrior, GaussianPrior
from chainkit_walkback import Geometric, HeatedProcess, Walkback, WalkbackBound

STATES = settings(3, torch.zeros((), dtype=torch.float64))
HIDDEN = settings(2, torch.zeros((), dtype=torch.float64))
RATES = torch.tensor([0.2, 0.5, 0.7], dtype=torch.float64)


def scattered(module):
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return module.double()


class Quadratic(Energy):
    """E(s) = |s - m|^2 / 2 v: the law is N(m, v)."""

    def __init__(self, mean=0.0, variance=1.0):
        super().__init__()
        self.mean = torch.nn.Parameter(torch.tensor(mean, dtype=torch.float64))
        self.variance = variance

    def forward(self, state, condition=None):
        return (state - self.mean).square().flatten(1).sum(1) / (2 * self.variance)


BITS = {"flat": None, "prior": BernoulliPrior(RATES)}


def law(operator, temperature) -> Tensor:
    return operator.log_target(STATES, temperature).softmax(0).detach()


def transitions_of_blocks(operator, temperature) -> Tensor:
    """R(v' | v) of one sweep, [from, to], the hidden units summed out."""
    reference = None if operator.reference is None else operator.reference(len(HIDDEN))
    up = torch.stack([tempered(operator.energy.hidden(STATES), temperature).log_prob(h.expand(len(STATES), 2)) for h in HIDDEN], 1)
    down = torch.stack(
        [tempered(operator.energy.visible(HIDDEN), temperature, reference).log_prob(v.expand(len(HIDDEN), 3)) for v in STATES], 1
    )
    return (up.exp() @ down.exp()).detach()


def transitions_of_sites(operator, temperature) -> Tensor:
    """R(s' | s) of one visit, [from, to]: a site at random, its bit drawn anew."""
    level = operator.log_target(STATES, temperature).detach()
    neighbour = (STATES[:, None] != STATES[None]).sum(2) == 1
    matrix = neighbour * (level[None] - level[:, None]).sigmoid() / 3
    return matrix + (1 - matrix.sum(1)).diag()


@pytest.mark.parametrize("reference", BITS)
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_a_block_sweep_is_in_detailed_balance_with_the_heated_law(reference, temperature):
    operator = BlockGibbs(scattered(RBM((3,), 2)), reference=BITS[reference])
    flow = law(operator, temperature)[:, None] * transitions_of_blocks(operator, temperature)
    torch.testing.assert_close(flow, flow.T)
    assert flow.sum().item() == pytest.approx(1)


def test_at_temperature_1_the_law_is_that_of_the_free_energy_whatever_the_reference():
    machine = scattered(RBM((3,), 2))
    for reference in BITS.values():
        for operator in (BlockGibbs(machine, reference=reference), Gibbs(machine, reference=reference)):
            torch.testing.assert_close(operator.log_target(STATES), -machine(STATES))


@pytest.mark.parametrize("kind", [BlockGibbs, Gibbs])
def test_the_hottest_law_is_the_reference(kind):
    operator = kind(scattered(RBM((3,), 2)), reference=BITS["prior"])
    expected = BITS["prior"](len(STATES)).log_prob(STATES).exp()
    torch.testing.assert_close(law(operator, 1e9), expected, atol=1e-7, rtol=0)


@pytest.mark.parametrize(("kind", "matrix"), [(BlockGibbs, transitions_of_blocks), (Gibbs, transitions_of_sites)])
@pytest.mark.parametrize("times", [1, 3])
def test_draws_follow_the_transition_matrix(kind, matrix, times):
    operator, n = kind(scattered(RBM((3,), 2)), times, BITS["prior"]), 6000
    exact = torch.linalg.matrix_power(matrix(operator, 2.0), times)
    source = seeded("cpu", 5)
    place = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)
    for start, row in zip(STATES, exact, strict=True):
        drawn = operator(start.expand(n, 3), 1).at(2.0).sample(source)
        assert set(drawn.unique().tolist()) <= {0.0, 1.0}
        seen = (drawn @ place).long().bincount(minlength=8) / n
        assert ((seen - row).abs() < 4.5 * (row * (1 - row) / n).sqrt() + 1e-12).all()


@pytest.mark.parametrize("kind", [BlockGibbs, Gibbs])
def test_one_row_is_enough(kind):
    assert kind(scattered(RBM((3,), 2)))(STATES[:1], 1).at(1.0).sample(seeded("cpu", 0)).shape == (1, 3)


def test_rows_may_have_temperatures_of_their_own():
    operator = BlockGibbs(scattered(RBM((3,), 2)), reference=BITS["prior"])
    temperatures = torch.linspace(1, 4, len(STATES), dtype=torch.float64)
    together = operator.log_target(STATES, temperatures)
    alone = [operator.log_target(state[None], float(t)) for state, t in zip(STATES, temperatures, strict=True)]
    torch.testing.assert_close(together, torch.cat(alone))
    assert operator(STATES, 1).at(temperatures).sample(seeded("cpu", 0)).shape == STATES.shape


def errors_off(values, mean, variance):
    """How many standard errors Gaussian draws are off in mean and variance, the larger of the two."""
    n = values.numel()
    in_mean = abs(values.mean().item() - mean) / math.sqrt(variance / n)
    return max(in_mean, abs(values.var().item() - variance) / (variance * math.sqrt(2 / n)))


def after(operator, state, moves, temperature=1.0, seed=0):
    source = seeded("cpu", seed)
    for _ in range(moves):
        state = operator(state, 1).at(temperature).sample(source)
    return state


PRIOR = GaussianPrior(torch.tensor([2.0], dtype=torch.float64), torch.tensor([0.5], dtype=torch.float64))


@pytest.mark.parametrize("leapfrog", [1, 4])
@pytest.mark.parametrize("temperature", [1.0, 3.0])
@pytest.mark.parametrize("reference", [None, PRIOR])
def test_trajectories_leave_the_heated_law_as_it_is(leapfrog, temperature, reference):
    """Long steps, so that uncorrected ones would not; from exact draws, whose own moments they keep."""
    operator = Hamiltonian(Quadratic(-1.0, 2.0), 1.3, leapfrog, reference)
    heated = tempered(Gaussian(torch.full((1, 1), -1.0), torch.full((1, 1), 2.0)), temperature, reference and reference(1))
    mean, variance = heated.mean.item(), heated.variance.item()
    exact = mean + math.sqrt(variance) * normal(torch.empty(8000, 1, dtype=torch.float64), seeded("cpu", 1))
    end = after(operator, exact, 4, temperature)
    assert ((end - exact).abs() > 0.1).double().mean() > 0.5
    assert errors_off(end, mean, variance) < 4.5


def test_adjusted_langevin_of_a_recipe_takes_one_step_for_a_trajectory():
    part = load_plugins(strict=True).part("operator", "langevin-adjusted", energy="rbm-gaussian", noise=0.3)
    operator = Context(data=tiny_data((2,)).summary).build(part)
    assert (operator.step, operator.leapfrog) == (0.3, 1)


def test_a_long_step_is_often_rejected_and_a_short_one_hardly_ever():
    start = normal(torch.empty(4000, 1, dtype=torch.float64), seeded("cpu", 1))
    stayed = [(after(Hamiltonian(Quadratic(), step), start, 1) == start).double().mean() for step in (0.1, 1.8)]
    assert stayed[0] < 0.01
    assert stayed[1] > 0.1


def test_a_trajectory_of_one_step_is_adjusted_langevin():
    """Where it moves to is the Langevin proposal, and whether it does is the Metropolis-Hastings rule with its density."""
    operator, step = Hamiltonian(scattered(GaussianRBM(torch.zeros(2), torch.ones(2), 3)), 0.8), 0.8
    start = torch.tensor([0.5, -0.3], dtype=torch.float64).expand(20_000, 2)
    end = operator(start, 1).at().sample(seeded("cpu", 2))
    momentum = normal(start, seeded("cpu", 2))
    langevin = Langevin(operator.energy, step)

    def proposal(state):
        return langevin(state, 1).at()

    with torch.no_grad():
        proposed = proposal(start).mean + step * momentum
        gain = operator.log_target(proposed) - operator.log_target(start)
        gain += proposal(proposed).log_prob(start) - proposal(start).log_prob(proposed)
    moved = (end != start).any(1)
    torch.testing.assert_close(end[moved], proposed[moved])
    chance = gain.exp().clamp(max=1)
    assert 0.3 < chance.mean() < 0.95
    assert abs((moved.double() - chance).mean()) < 4.5 * (chance * (1 - chance)).mean().sqrt() / len(start) ** 0.5


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_a_trajectory_is_accepted_by_the_change_of_its_total_energy(temperature):
    """The same draws through the leapfrog written out, and E / T + |p|^2 / 2 at both ends, row by row."""
    operator = Hamiltonian(scattered(GaussianRBM(torch.zeros(2), torch.ones(2), 3)), 0.9, leapfrog=3)
    start = normal(torch.zeros(20_000, 2, dtype=torch.float64), seeded("cpu", 1))
    end, source, length = operator.move(start, temperature, None, seeded("cpu", 2)), seeded("cpu", 2), 0.9 * math.sqrt(temperature)

    def slope(state):
        at = state.detach().requires_grad_()
        return torch.autograd.grad(operator.energy(at).sum(), at)[0] / temperature

    def total(state, momentum):
        return (operator.energy(state) / temperature + momentum.square().sum(1) / 2).detach()

    first = momentum = normal(start, source)
    state = start
    for _ in range(3):
        momentum = momentum - length / 2 * slope(state)
        state = state + length * momentum
        momentum = momentum - length / 2 * slope(state)
    rise = total(state, momentum) - total(start, first)
    accepted = uniform(rise, source) < (-rise).exp()
    assert 0.2 < accepted.double().mean() < 0.95
    torch.testing.assert_close(end, torch.where(accepted[:, None], state, start))


def test_a_trajectory_that_diverges_is_rejected():
    class Pit(Quadratic):
        def forward(self, state, condition=None):
            return -(state**8).sum(1)

    start = torch.full((50, 1), 10.0, dtype=torch.float64)
    end = after(Hamiltonian(Pit(), 1.0, 20), start, 1)
    assert torch.equal(end, start)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_langevin_without_correction_misses_the_variance_by_what_theory_says(temperature):
    """For E = s^2 / 2 the chain is linear, its variance T / (1 - sigma^2 / 4) instead of T."""
    noise = 1.0
    start = math.sqrt(temperature / (1 - noise**2 / 4)) * normal(torch.empty(60_000, 1, dtype=torch.float64), seeded("cpu", 1))
    end = after(Langevin(Quadratic(), noise), start, 5, temperature)
    assert errors_off(end, 0, temperature / (1 - noise**2 / 4)) < 4.5
    assert errors_off(end, 0, temperature) > 10


def test_the_langevin_kernel_is_the_gaussian_of_its_formula():
    distribution = Langevin(Quadratic(2.0, 0.5), 0.3)(torch.zeros(1, 1, dtype=torch.float64), 1).at(2.0)
    assert distribution.mean.item() == pytest.approx(0.5 * 0.09 * 2.0 / 0.5)
    assert distribution.variance.item() == pytest.approx(2 * 0.09)


@pytest.mark.parametrize("objective", [Walkback(), WalkbackBound(4)])
def test_walkback_trains_an_energy_by_its_langevin_steps(objective):
    """The bound of data around 1.5 rises, and the energy's minimum moves towards it."""
    data = Data.of(1.5 + 0.3 * torch.randn(256, 1, generator=torch.Generator().manual_seed(0)))
    data.to("cpu", torch.float64)
    energy = Quadratic(0.0, 0.3**2)
    prior = GaussianPrior(torch.tensor([0.5], dtype=torch.float64), torch.tensor([4.0], dtype=torch.float64))
    chain = Chain(prior, Langevin(energy, 0.2), 6, temperature=Geometric(1.0, 2.0))
    batch = data.batch("train", torch.arange(256), None)
    descent = torch.optim.Adam(energy.parameters(), lr=0.05)
    for update in range(40):
        descent.zero_grad()
        for loss in objective.losses(chain, HeatedProcess(), batch, source=seeded("cpu", update)):
            loss.value.backward()
        descent.step()
    assert energy.mean.item() == pytest.approx(1.5, abs=0.25)
