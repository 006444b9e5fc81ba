"""Contrastive divergence: its gradient against that of the exact likelihood, and chains that are saved with the run."""

import math

import pytest
import torch

from chainkit.batch import Batch
from chainkit.chain import Chain
from chainkit.component import Context
from chainkit.host import load_plugins
from chainkit.random import seeded
from chainkit.testing import tiny_chain, tiny_data
from chainkit_energy import RBM, Annealed, BlockGibbs, ContrastiveDivergence, GaussianRBM, Langevin, PersistentDivergence
from chainkit_energy.divergence import contrast, moved
from chainkit_energy.enumerated import settings
from chainkit_priors import BernoulliPrior, GaussianPrior
from chainkit_walkback import HeatedProcess

STATES = settings(4, torch.zeros((), dtype=torch.float64))
HIDDEN = settings(3, torch.zeros((), dtype=torch.float64))
DATA = STATES[[3, 3, 5, 12, 12, 12]]


@pytest.fixture
def chain():
    machine = RBM((4,), 3)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in machine.parameters():
            parameter.copy_(1.2 * torch.randn(parameter.shape, generator=generator))
    prior = BernoulliPrior(torch.full((4,), 0.5, dtype=torch.float64))
    return Chain(prior, BlockGibbs(machine.double(), reference=prior), 20, temperature=Annealed())


def gradient_of(value, chain):
    chain.zero_grad()
    value.backward()
    return torch.cat([parameter.grad.flatten() for parameter in chain.operator.parameters()])


def likelihood_gradient(chain):
    energy = chain.operator.energy
    return gradient_of(energy(DATA).mean() + (-energy(STATES)).logsumexp(0), chain)


def law_after(chain, steps):
    """The law of a state that many sweeps away from the data, [16]."""
    energy = chain.operator.energy
    with torch.no_grad():
        up = torch.stack([energy.hidden(STATES).log_prob(h.expand(16, 3)) for h in HIDDEN], 1).exp()
        down = torch.stack([energy.visible(HIDDEN).log_prob(v.expand(8, 4)) for v in STATES], 1).exp()
    start = (STATES[:, None] == DATA[None]).all(2).double().mean(1)
    return start @ torch.linalg.matrix_power(up @ down, steps)


def divergence_gradient(chain, steps):
    """The expected gradient of CD-k, by enumeration."""
    energy = chain.operator.energy
    return gradient_of(energy(DATA).mean() - (law_after(chain, steps) * energy(STATES)).sum(), chain)


def test_with_exact_draws_the_gradient_is_that_of_the_likelihood(chain):
    exact, n = likelihood_gradient(chain), 4000
    chances = (-chain.operator.energy(STATES)).softmax(0).detach()
    drawn = STATES[chances.multinomial(n, replacement=True, generator=seeded("cpu", 1))]
    found = gradient_of(contrast(chain, Batch.of(DATA), drawn).value, chain)
    each = torch.stack([gradient_of(chain.operator.energy(state[None]).sum(), chain) for state in STATES])
    spread = ((each - chances @ each).square() * chances[:, None]).sum(0).sqrt()
    assert exact.abs().max() > 0.1
    assert ((found - exact).abs() < 4.5 * spread / math.sqrt(n) + 1e-12).all()


@pytest.mark.parametrize("steps", [1, 3])
def test_the_gradient_is_in_expectation_the_enumerated_one(chain, steps):
    exact, source, copies = divergence_gradient(chain, steps), seeded("cpu", 0), 500
    batch = Batch.of(DATA.repeat(copies, 1))
    found = []
    for _ in range(10):
        (loss,) = ContrastiveDivergence(steps).losses(chain, HeatedProcess(), batch, source=source)
        found.append(gradient_of(loss.value, chain))
    together = torch.stack(found)
    assert ((together.mean(0) - exact).abs() < 5.5 * together.std(0) / math.sqrt(10) + 1e-12).all()


def test_more_steps_bring_the_gradient_to_that_of_the_likelihood(chain):
    exact = likelihood_gradient(chain)
    distances = [(divergence_gradient(chain, steps) - exact).norm().item() for steps in (1, 4, 16, 64)]
    assert distances == sorted(distances, reverse=True)
    assert distances[0] > 0.05
    assert distances[-1] < 0.02 * distances[0]


def test_moves_follow_the_operator_and_leave_no_gradient(chain):
    end = moved(chain, DATA.repeat(2000, 1), 2, None, seeded("cpu", 3))
    place = torch.tensor([1.0, 2.0, 4.0, 8.0], dtype=torch.float64)
    seen, exact = (end @ place).long().bincount(minlength=16) / len(end), law_after(chain, 2)
    assert not end.requires_grad
    assert ((seen - exact).abs() < 4.5 * (exact * (1 - exact) / len(end)).sqrt()).all()


def test_moves_are_made_at_temperature_1():
    operator = Langevin(GaussianRBM(torch.zeros(2), torch.ones(2), 3), 0.1)
    real = Chain(GaussianPrior(torch.zeros(2), torch.ones(2)), operator, 3)
    start = torch.tensor([[0.5, -1.0]])
    expected = operator(start, 1).at(1.0).sample(seeded("cpu", 4))
    assert torch.equal(moved(real, start, 1, None, seeded("cpu", 4)), expected.detach())


def test_persistent_chains_go_on_from_where_they_were(chain):
    objective = PersistentDivergence(STATES, steps=2)
    batch = Batch.of(DATA)
    (loss,) = objective.losses(chain, HeatedProcess(), batch, source=seeded("cpu", 0))
    expected = moved(chain, STATES, 2, None, seeded("cpu", 0))
    assert torch.equal(objective.chains, expected)
    assert not torch.equal(expected, STATES)
    assert loss.value.item() == pytest.approx(contrast(chain, batch, expected).value.item())
    (again,) = objective.losses(chain, HeatedProcess(), batch, source=seeded("cpu", 1))
    assert torch.equal(objective.chains, moved(chain, expected, 2, None, seeded("cpu", 1)))
    assert again.metrics["energy of data"] == loss.metrics["energy of data"]


def test_chains_that_start_anew_come_from_the_prior(chain):
    far = torch.ones(3000, 4, dtype=torch.float64)
    objective = PersistentDivergence(far, restart=0.25)
    started = objective._restarted(chain.prior, seeded("cpu", 0))
    share = (started != far).any(1).double().mean().item()
    exact = 0.25 * 15 / 16
    assert abs(share - exact) < 4.5 * math.sqrt(exact * (1 - exact) / 3000)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ContrastiveDivergence(0),
        lambda: PersistentDivergence(STATES[:0]),
        lambda: PersistentDivergence(STATES, steps=0),
        lambda: PersistentDivergence(STATES, restart=1.5),
    ],
)
def test_what_is_out_of_range_is_refused(make):
    with pytest.raises(ValueError):
        make()


def test_an_operator_without_an_energy_is_refused():
    chain, data = tiny_chain(), tiny_data()
    batch = data.batch("train", torch.arange(4), seeded("cpu", 0))
    with pytest.raises(TypeError, match="comes from an energy, not TinyGaussian"):
        next(ContrastiveDivergence().losses(chain, HeatedProcess(), batch))


def test_persistent_chains_refuse_labels():
    data, part = tiny_data(binary=True, conditional=True), load_plugins(strict=True).part("objective", "persistent-divergence")
    with pytest.raises(ValueError, match="no labels"):
        Context(data=data.summary, prior=BernoulliPrior(torch.full((2,), 0.5))).build(part)
