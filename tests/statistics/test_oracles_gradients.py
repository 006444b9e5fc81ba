"""The gradient of every registered objective against that of the quantity it claims to optimise, both summed over all draws.

What an objective yields is averaged over everything that it can draw: bits by enumeration, real noise
by Gauss-Hermite quadrature, which is exact for the polynomials that linear-Gaussian chains give.
"""

import contextlib
import itertools
import math
from unittest import mock

import numpy
import pytest
import torch

from chainkit import Batch
from chainkit.capabilities import BinaryStates
from chainkit.testing.oracles import LinearGaussian, cases, every_walk, scripted

STEPS = 2
NEAR = 0.5
"""Variance of the infused target here: wide, so that quadrature sees it well."""


def parameters(chain, process):
    return [parameter for part in (chain, process) for parameter in part.parameters() if parameter.requires_grad]


def flat(value, over):
    found = torch.autograd.grad(value, over, allow_unused=True, materialize_grads=True)
    return torch.cat([gradient.flatten() for gradient in found])


# What is drawn ---------------------------------------------------------------------------------


def hermite(nodes):
    """Nodes and weights for the expectation of a function of a standard normal number."""
    places, weights = numpy.polynomial.hermite_e.hermegauss(nodes)
    return list(zip(places.tolist(), (weights / weights.sum()).tolist(), strict=True))


class Noise:
    """Gives the numbers of a list wherever a distribution asks for normal ones or a choice."""

    def __init__(self, normals, uniforms):
        self.normals, self.uniforms = list(normals), list(uniforms)

    def normal(self, like, source=None):
        return torch.full_like(like, self.normals.pop(0), requires_grad=False)

    def chance(self, like, probability, source=None):
        return torch.full_like(like, self.uniforms.pop(0) < probability, dtype=torch.bool, requires_grad=False)

    @contextlib.contextmanager
    def instead(self):
        with (
            mock.patch("chainkit.distributions.gaussian.normal", self.normal),
            mock.patch("chainkit.distributions.gaussian.chance", self.chance),
        ):
            yield self
        assert not self.normals
        assert not self.uniforms


def noises(case, nodes):
    """All noise of one walk over a line, with its weight: K numbers, or for infusion K choices between two."""
    plain = [((place,), (), weight) for place, weight in nodes]
    for draws in itertools.product(*[infused_draw(nodes, t) if case.process.name == "infusion" else plain for t in range(STEPS)]):
        normals, uniforms, weights = zip(*draws, strict=True)
        yield Noise(itertools.chain(*normals), itertools.chain(*uniforms)), math.prod(weights)


def infused_draw(nodes, t):
    """The t-th draw of an infusion: its noise, which is the model's or the target's as a uniform number below or above the rate says."""
    rate = round((0.15 + 0.25 * t) * 2**16) / 2**16
    infused = [((place,), (0.0,), rate * weight) for place, weight in nodes]
    return infused + [((place,), (1 - 1e-9,), (1 - rate) * weight) for place, weight in nodes]


def paths(case):
    """All pairs of states that two draws can give."""
    states = case.support.states
    return [[states[i : i + 1], states[j : j + 1]] for i, j in itertools.product(range(len(states)), repeat=STEPS)]


def steps_drawn(objective):
    """The steps that an objective may choose at random; None where it takes all."""
    return range(1, STEPS + 1) if getattr(objective, "steps", None) == "one" or type(objective).__name__ == "DiffusionSimple" else [None]


@contextlib.contextmanager
def chosen_step(k):
    """Chooses k wherever a step is drawn uniformly from 1..K."""

    def integers(low, high, rows, device, source=None):
        assert (low, high) == (1, STEPS)
        return torch.full((rows,), k)

    with mock.patch("chainkit_diffusion.random_step.integers", integers) if k else contextlib.nullcontext():
        yield


def one(objective, chain, process, x):
    """The sum of the losses, and its gradient, streamed as a trainer does it."""
    value, gradient, over = 0.0, 0.0, parameters(chain, process)
    for loss in objective.losses(chain, process, Batch.of(x)):
        value, gradient = value + float(loss.value.detach()), gradient + flat(loss.value, over)
    return value, gradient


def expected(case, objective, chain, process, x, nodes):
    """Mean of the losses and of their gradient over everything that can be drawn."""
    value, gradient = 0.0, 0.0
    for k in steps_drawn(objective):
        share = 1.0 if k is None else 1 / STEPS
        with chosen_step(k):
            if case.states is BinaryStates:
                for path in paths(case):
                    with scripted(path) as script:
                        each, slope = one(objective, chain, process, x)
                    weight = share * float(script.log_q.exp())
                    value, gradient = value + weight * each, gradient + weight * slope
            else:
                for noise, likely in noises(case, hermite(nodes)):
                    with noise.instead():
                        each, slope = one(objective, chain, process, x)
                    value, gradient = value + share * likely * each, gradient + share * likely * slope
    return value, gradient


# What is claimed ---------------------------------------------------------------------------------


def reverse(chain, walks, k):
    return chain.operator(walks.states[k], k).at(chain.temperatures()[k - 1])


def frozen(walks, values):
    """The expectation under q held fixed."""
    return ((walks.log_q + walks.log_measure).exp() * values).sum()


def algorithm_1(chain, process, walks):
    """-sum_k log p(s_{k-1} | s_k), q held fixed (walkback paper, Algorithm 1)."""
    return frozen(walks, -sum(reverse(chain, walks, k).log_prob(walks.states[k - 1]) for k in range(1, STEPS + 1)))


def denoising(chain, process, walks):
    """-sum_k (K - k + 1) / K log p(x | s_k), q held fixed (infusion paper, note 3)."""
    return frozen(walks, -sum((STEPS - k + 1) / STEPS * reverse(chain, walks, k).log_prob(walks.states[0]) for k in range(1, STEPS + 1)))


def log_p(chain, walks):
    total = chain.prior(len(walks.log_q)).log_prob(walks.states[STEPS])
    return total + sum(reverse(chain, walks, k).log_prob(walks.states[k - 1]) for k in range(1, STEPS + 1))


def negative_bound(chain, process, walks, log_q):
    """-E_q[log w], with q as it depends on the parameters."""
    return -((log_q + walks.log_measure).exp() * (log_p(chain, walks) - log_q)).sum()


def walkback_bound(chain, process, walks):
    """Eq. 8 of the walkback paper; q is the operator too."""
    temperatures = chain.temperatures()
    log_q = sum(
        chain.operator(walks.states[k - 1], max(k - 1, 1)).at(temperatures[k - 1]).log_prob(walks.states[k]) for k in range(1, STEPS + 1)
    )
    return negative_bound(chain, process, walks, log_q)


def infusion_bound(chain, process, walks):
    """Eq. 3.3.3 of the infusion paper; every factor of q has one of p in it."""
    near = torch.distributions.Normal(walks.states[0], NEAR**0.5)
    log_q = 0.0
    for k, model in ((2, chain.prior(len(walks.log_q))), (1, reverse(chain, walks, 2))):
        rate = 0.15 + 0.25 * (STEPS - k)
        kept = model.log_prob_elementwise(walks.states[k]) + math.log(1 - rate)
        log_q = log_q + torch.logaddexp(kept, near.log_prob(walks.states[k]) + math.log(rate)).sum(1)
    return negative_bound(chain, process, walks, log_q)


def diffusion_bound(chain, process, walks):
    """Eqs. 10-14 of the diffusion paper; q has no parameters here."""
    return negative_bound(chain, process, walks, walks.log_q)


def noise_error(chain, process, walks):
    """E |e - e(s_k, k)|^2, k uniform (Ho et al. 2020, eq. 14)."""
    total, kept = 0.0, 1.0
    for k in range(1, STEPS + 1):
        kept = kept * (1 - (0.25 + 0.35 * (k - 1)))
        noise = (walks.states[k] - kept**0.5 * walks.states[0]) / (1 - kept) ** 0.5
        total = total + (reverse(chain, walks, k).noise - noise).square().mean(1) / STEPS
    return frozen(walks, total)


CLAIMS = {
    "walkback": algorithm_1,
    "denoising": denoising,
    "walkback-bound": walkback_bound,
    "diffusion-bound": diffusion_bound,
    "diffusion-simple": noise_error,
}
"""What each objective claims to optimise, by its name."""
BOUNDS = {"heated": walkback_bound, "infusion": infusion_bound, "diffusion-gaussian": diffusion_bound}
"""What the objective ``lower-bound`` claims, by the process."""


def claim(objective, case):
    """The quantity, or a skip that says what is missing."""
    found = BOUNDS.get(case.process.name) if objective.name == "lower-bound" else CLAIMS.get(objective.name)
    if found is None:
        pytest.skip(f"what {objective.name} claims to optimise with {case.process.name} is not written down in {__name__}")
    return found


def test_the_expected_gradient_is_that_of_the_stated_quantity(trained, two_steps, point):
    part, case = trained
    quantity = claim(part, case)
    case = two_steps(case, near=NEAR)
    chain, process = case.build()
    x, over = point(case), parameters(chain, process)
    if case.states is not BinaryStates:
        try:
            LinearGaussian((1,)).log_prob(chain, x)
        except ValueError:
            pytest.skip(f"{case.operator.name} is not linear-Gaussian, so that quadrature is not exact")
    if not over:
        pytest.skip(f"{case.operator.name} has nothing to be learned")
    exact = quantity(chain, process, every_walk(chain, process, x, case.support))
    gradient = flat(exact, over)
    # log w of infusion has the logarithm of a mixture in it, where quadrature is not exact.
    mixture = (part.name, case.process.name) == ("lower-bound", "infusion")
    value, found = expected(case, case.objective(part, chain, process), chain, process, x, 10 if mixture else 4)
    size, allowed = float(gradient.abs().max()), 2e-3 if mixture else 1e-7
    assert size > 1e-3
    assert value == pytest.approx(float(exact.detach()), rel=allowed, abs=allowed)
    torch.testing.assert_close(found, gradient, rtol=allowed, atol=allowed * size)


def learned_diffusion(host):
    """A Gaussian diffusion of two steps that learns its schedule, with its operator, and a case to name them by."""
    schedule = {"type": "variance-learned", "initial": {"type": "variance-linear", "start": 0.25, "end": 0.6}}
    settings = {"process:diffusion-gaussian": {"schedule": schedule}, "operator:diffusion-gaussian": {"first_step": "learned"}}
    names = ("diffusion-gaussian", "diffusion-gaussian")
    return next(case for case in cases(host, settings) if (case.operator.name, case.process.name) == names)


def learned_bound(chain, process, walks):
    """-E_q[log w] with q as it depends on the schedule."""
    variances = process.schedule.values(STEPS)
    laws = [torch.distributions.Normal((1 - b).sqrt() * state, b.sqrt()) for b, state in zip(variances, walks.states, strict=False)]
    log_q = sum(law.log_prob(state).sum(1) for law, state in zip(laws, walks.states[1:], strict=True))
    return negative_bound(chain, process, walks, log_q)


@pytest.mark.parametrize(
    ("name", "settings", "draws"),
    [
        ("diffusion-bound", {"steps": "all"}, 3),
        ("diffusion-bound", {"steps": "one"}, 2),
        ("lower-bound", {}, 2),
    ],
)
def test_a_learned_schedule_gets_the_gradient_of_the_bound(host, name, settings, draws, point):
    """Every draw depends on the schedule; ``all`` draws s_2 with s_1, and s_1 once more."""
    case = learned_diffusion(host)
    chain, process = case.build()
    x, over = point(case), parameters(chain, process)
    exact = learned_bound(chain, process, every_walk(chain, process, x, case.support))
    gradient = flat(exact, over)
    objective = case.objective(host.part("objective", name, **settings), chain, process)
    value, found = 0.0, 0.0
    for k in steps_drawn(objective):
        for nodes in itertools.product(hermite(4), repeat=draws):
            places, weights = zip(*nodes, strict=True)
            weight = math.prod(weights) / len(steps_drawn(objective))
            with chosen_step(k), Noise(places, []).instead():
                each, slope = one(objective, chain, process, x)
            value, found = value + weight * each, found + weight * slope
    assert process.schedule.logits.requires_grad
    assert value == pytest.approx(float(exact.detach()), rel=1e-7)
    torch.testing.assert_close(found, gradient, rtol=1e-6, atol=1e-7)
