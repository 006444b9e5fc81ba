"""The objectives against enumeration, exact kernels and finite differences."""

import itertools

import attrs
import pytest
import torch
from torch import nn

from chainkit import Batch, Chain, ForwardProcess, Network, Prior, Transition
from chainkit.distributions import Bernoulli, Gaussian, kl_divergence
from chainkit.objective import PathBound
from chainkit.random import seeded
from chainkit_diffusion import (
    BernoulliReverse,
    BinomialDiffusion,
    CosineVariances,
    DiffusionBound,
    DiffusionSimple,
    FixedVariances,
    GaussianDiffusion,
    GaussianReverse,
    LearnedVariances,
    LinearVariances,
    NoisePrediction,
)
from chainkit_diffusion.bound import divergence

RATE = torch.tensor([0.3, 0.6], dtype=torch.float64)
STATES = torch.tensor(list(itertools.product([0.0, 1.0], repeat=2)), dtype=torch.float64)


class Mixing(Network):
    def __init__(self, heads, dim):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(heads, dim, dim, dtype=torch.float64).normal_(generator=seeded("cpu", heads, dim)))
        self.rows = []

    def forward(self, state, k, condition=None):
        self.rows.append(len(state))
        depth = k.view(-1, 1) if isinstance(k, torch.Tensor) else k
        return tuple(((state - 0.3) @ weight).tanh() / depth for weight in self.weight)

    def bias_heads(self, biases):
        raise NotImplementedError


class BitPrior(Prior):
    def forward(self, rows):
        return Bernoulli((RATE - 0.1).logit().expand(rows, 2))


class NormalPrior(Prior):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(3, dtype=torch.float64))

    def forward(self, rows):
        return Gaussian(self.mean.expand(rows, 3), torch.ones_like(self.mean))


def binomial(steps=3):
    process = BinomialDiffusion(FixedVariances([0.2, 0.5, 0.4][:steps]), steps, RATE)
    return Chain(BitPrior(), BernoulliReverse(Mixing(1, 2), process, first_step="learned"), steps), process


def gaussian(learned=False, steps=4):
    schedule = LearnedVariances(LinearVariances(0.1, 0.5).values(steps)) if learned else LinearVariances(0.1, 0.5)
    process = GaussianDiffusion(schedule.double(), steps)
    return Chain(NormalPrior(), GaussianReverse(Mixing(2, 3), process), steps), process


def noise_chain(steps=4):
    process = GaussianDiffusion(CosineVariances(), steps)
    return Chain(NormalPrior(), NoisePrediction(Mixing(1, 3), process), steps), process


def data(rows=6):
    return Batch.of(torch.empty(rows, 3, dtype=torch.float64).normal_(generator=seeded("cpu", "data", rows)) * 0.5)


def enumerated_bound(chain, process):
    """E_q[log w] of every data point, over all 64 walks, both joint distributions factor by factor."""
    walks = torch.tensor(list(itertools.product(range(4), repeat=4)))
    path = [STATES[walks[:, k]] for k in range(4)]
    log_p = chain.prior(len(walks)).log_prob(path[3])
    log_q = torch.zeros_like(log_p)
    for k in (1, 2, 3):
        log_p = log_p + chain.operator(path[k], k).at(1.0).log_prob(path[k - 1])
        log_q = log_q + process.step(path[k - 1], k).log_prob(path[k])
    return (log_q.exp() * (log_p - log_q)).view(4, 64).sum(1).detach()


def summed(objective, chain, process, batch, source):
    return sum(loss.value for loss in objective.losses(chain, process, batch, source=source))


def analytic_terms(chain, process, k):
    """E_q of the share of step k for every data point, over all states s_k."""
    state, origin = (part.reshape(-1, 2) for part in torch.broadcast_tensors(STATES, STATES[:, None]))
    rows = torch.full((16,), k)
    reverse = chain.operator(state, rows).at(1.0)
    shares = divergence(process, Transition(k=rows, steps=3, state=state, previous=None, origin=origin, reverse=reverse))
    return (process.marginal(origin, k).log_prob(state).exp() * shares).view(4, 4).sum(1).detach()


def test_the_analytic_bound_is_the_expectation_of_log_w_by_enumeration():
    chain, process = binomial()
    gap = kl_divergence(process.marginal(STATES, 3), chain.prior(4))
    found = -gap - sum(analytic_terms(chain, process, k) for k in (1, 2, 3))
    torch.testing.assert_close(found, enumerated_bound(chain, process), rtol=0, atol=1e-12)


@pytest.mark.parametrize("settings", [{"steps": "all"}, {"steps": "one"}, {"steps": "one", "shared": True}])
def test_the_losses_of_a_batch_sum_to_the_negative_bound_in_expectation(settings):
    chain, process = binomial()
    batch, objective, n = Batch.of(STATES.repeat(250, 1)), DiffusionBound(**settings), 300
    with torch.no_grad():
        losses = torch.stack([summed(objective, chain, process, batch, seeded("cpu", "bound", i)) for i in range(n)])
    expected = -enumerated_bound(chain, process).mean()
    assert abs(losses.mean() - expected) < 4 * losses.std() / n**0.5


def test_for_the_gaussian_diffusion_the_analytic_bound_is_the_mean_of_log_w():
    chain, process = gaussian()
    batch = data(6).repeat(5000)
    with torch.no_grad():
        analytic = summed(DiffusionBound(steps="all"), chain, process, batch, seeded("cpu", 1))
        walk = process.walk(chain, batch, source=seeded("cpu", 2), with_log_ratio=True)
        log_w = sum(transition.log_ratio for transition in walk).view(6, 5000)
    error = (log_w.var(1).mean() / 30_000).sqrt()
    assert abs(analytic + log_w.mean()) < 4 * 2**0.5 * error


def test_all_steps_cost_one_evaluation_per_state_and_one_step_costs_one():
    chain, process = gaussian()
    network = chain.operator.network
    list(DiffusionBound(steps="all").losses(chain, process, data(), source=seeded("cpu", 3)))
    assert network.rows == [6] * 4
    list(DiffusionBound(steps="one").losses(chain, process, data(), source=seeded("cpu", 3)))
    assert network.rows == [6] * 5


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("steps", ["all", "one"])
def test_every_loss_can_be_followed_by_its_own_backward(steps, learned):
    chain, process = gaussian(learned)
    objective, whole = DiffusionBound(steps=steps), nn.ModuleList([chain, process])
    for loss in objective.losses(chain, process, data(), source=seeded("cpu", 4)):
        loss.value.backward()
    streamed = [parameter.grad.clone() for parameter in whole.parameters()]
    whole.zero_grad()
    summed(objective, chain, process, data(), seeded("cpu", 4)).backward()
    for found, parameter in zip(streamed, whole.parameters(), strict=True):
        torch.testing.assert_close(found, parameter.grad)


def learned_objectives():
    return [DiffusionBound(steps="all"), DiffusionBound(steps="one"), DiffusionBound(steps="one", shared=True), PathBound()]


@pytest.mark.parametrize("objective", learned_objectives())
def test_the_gradient_of_a_learned_schedule_is_that_of_finite_differences(objective):
    chain, process = gaussian(learned=True)
    logits = process.schedule.logits

    def total():
        return summed(objective, chain, process, data(), seeded("cpu", 5))

    (gradient,) = torch.autograd.grad(total(), logits)
    assert bool((gradient != 0).any())
    for i in range(len(logits)):
        sides = []
        for step in (1e-6, -1e-6):
            with torch.no_grad():
                logits[i] += step
                sides.append(total().item())
                logits[i] -= step
        assert gradient[i].item() == pytest.approx((sides[0] - sides[1]) / 2e-6, rel=1e-5, abs=1e-7)


def test_one_random_step_trains_the_schedule_towards_the_same_gradient_as_all_steps():
    chain, process = gaussian(learned=True)
    batch = data(4).repeat(500)

    def gradient(objective, i):
        return torch.autograd.grad(summed(objective, chain, process, batch, seeded("cpu", "unbiased", i)), process.schedule.logits)[0]

    path = torch.stack([gradient(PathBound(), i) for i in range(40)])
    one = torch.stack([gradient(DiffusionBound(steps="one"), i) for i in range(40)])
    error = ((path.var(0) + one.var(0)) / 40).sqrt()
    assert bool(((path.mean(0) - one.mean(0)).abs() < 4 * error).all())


def test_the_bound_of_a_chain_of_one_step_has_no_divergence():
    chain, process = binomial(1)
    for settings in ({"steps": "all"}, {"steps": "one"}):
        value = summed(DiffusionBound(**settings), chain, process, Batch.of(STATES), seeded("cpu", 6))
        transition = next(process.walk(chain, Batch.of(STATES), source=None))
        gap = kl_divergence(process.marginal(STATES, 1), chain.prior(4)).mean()
        assert value.isfinite()
        assert torch.equal(divergence(process, transition), -transition.reverse.log_prob(STATES))
        assert value > gap


def test_the_bound_refuses_a_process_without_posteriors_and_a_shared_step_of_all():
    class Walks(ForwardProcess):
        def walk(self, chain, batch, *, source=None, path_gradient=False, with_log_ratio=False):
            raise NotImplementedError

    chain, _ = gaussian()
    with pytest.raises(TypeError, match="known posteriors, not Walks"):
        next(DiffusionBound().losses(chain, Walks(), data()))
    with pytest.raises(TypeError, match="visited alone, not Walks"):
        next(DiffusionSimple().losses(chain, Walks(), data()))
    with pytest.raises(ValueError, match="shared"):
        DiffusionBound(steps="all", shared=True)


def test_the_simple_loss_is_the_mean_squared_error_of_the_noise_that_made_the_state():
    chain, process = noise_chain()
    chain.operator.network.weight.data.zero_()
    batch = data(20_000)
    (loss,) = DiffusionSimple().losses(chain, process, batch, source=seeded("cpu", 7))
    # A network that says 0 has the mean square of standard normal noise, 1, as its error.
    assert abs(loss.value.item() - 1) < 4 * (2 / 60_000) ** 0.5


def test_the_simple_loss_of_a_network_that_knows_the_noise_is_zero():
    chain, process = noise_chain()
    batch = data()

    class Oracle(Mixing):
        def forward(self, state, k, condition=None):
            marginal = process.marginal(batch.origin, k)
            return ((state - marginal.mean) / marginal.variance.sqrt(),)

    chain.operator.network = Oracle(1, 3)
    for shared in (False, True):
        (loss,) = DiffusionSimple(shared=shared).losses(chain, process, batch, source=seeded("cpu", 8))
        assert loss.value.item() == pytest.approx(0, abs=1e-20)


def test_the_simple_loss_needs_an_operator_that_predicts_noise_and_gaussian_marginals():
    with pytest.raises(TypeError, match="GaussianReverse predicts no noise"):
        next(DiffusionSimple().losses(*gaussian(), data()))
    with pytest.raises(TypeError, match="Gaussian marginals, not for BinomialDiffusion"):
        next(DiffusionSimple().losses(*binomial(), Batch.of(STATES)))


@pytest.mark.parametrize(
    ("make", "objective", "batch"),
    [
        (gaussian, DiffusionBound(), data(64)),
        (noise_chain, DiffusionBound(), data(64)),
        (noise_chain, DiffusionSimple(), data(64)),
        (binomial, DiffusionBound(steps="all"), Batch.of(STATES[[0, 3]].repeat(32, 1))),
    ],
)
def test_training_lowers_every_objective(make, objective, batch):
    chain, process = make()
    optimizer = torch.optim.Adam(chain.parameters(), 0.05)

    def measured():
        with torch.no_grad():
            return sum(summed(objective, chain, process, batch, seeded("cpu", "measured", i)).item() for i in range(20)) / 20

    before = measured()
    for i in range(60):
        optimizer.zero_grad()
        for loss in objective.losses(chain, process, batch, source=seeded("cpu", "training", i)):
            loss.value.backward()
        optimizer.step()
    assert measured() < before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("learned", [False, True])
def test_the_shares_of_the_bound_are_the_same_on_both_devices(learned):
    chain, process = gaussian(learned)
    here = process.visit(chain, data(), torch.tensor([1, 2, 3, 4, 4, 1]), source=seeded("cpu", 9))
    expected = divergence(process, here)
    nn.ModuleList([chain, process]).cuda()
    k, state = here.k.cuda(), here.state.cuda()
    there = attrs.evolve(here, k=k, state=state, origin=here.origin.cuda(), reverse=chain.operator(state, k).at(1.0))
    torch.testing.assert_close(divergence(process, there).cpu(), expected)
    for steps in ("all", "one"):
        batch = Batch.of(here.origin.cuda())
        assert summed(DiffusionBound(steps=steps), chain, process, batch, seeded("cuda", 9)).isfinite()
