"""The study of what limits a diffusion: its best steps are exact, its floor is a bound, its page comes from records."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from pathlib import Path

import pytest
import torch

from chainkit import Chain, Prior, TransitionOperator
from chainkit.distributions import Gaussian
from chainkit.kernel import BernoulliKernel, GaussianKernel
from chainkit.random import seeded
from chainkit_diffusion import BinomialDiffusion, CosineVariances, GaussianDiffusion, HarmonicVariances

STUDY = Path(__file__).parents[2] / "docs" / "studies" / "diffusion_limits.py"


@pytest.fixture(scope="module")
def study():
    specification = importlib.util.spec_from_file_location("diffusion_limits", STUDY)
    module = importlib.util.module_from_spec(specification)
    sys.modules["diffusion_limits"] = module
    specification.loader.exec_module(module)
    return module


class Given(TransitionOperator):
    """The best steps, their log variances or log odds moved."""

    def __init__(self, law, process, moved=0.0):
        super().__init__()
        self.law, self.process, self.moved = law, process, moved

    def forward(self, state, k, condition=None):
        best = self.law.best(self.process, state.double(), k)
        if isinstance(self.process, GaussianDiffusion):
            return GaussianKernel(best.mean, best.variance * math.exp(self.moved))
        return BernoulliKernel(best.logits + self.moved)


class Paper(Prior):
    """The prior of a law."""

    def __init__(self, law):
        super().__init__()
        self.law = law

    def forward(self, rows):
        return self.law.prior(rows)


@pytest.mark.parametrize("k", [1, 2, 6])
def test_the_best_step_back_to_the_roll_has_the_moments_of_the_law(study, k):
    """Against importance weights of 400 000 draws of x; 5 standard errors."""
    law, process = study.Roll(2.0), GaussianDiffusion(CosineVariances(), 6)
    state, x = torch.tensor([[0.7, -0.4]], dtype=torch.float64), law.draw(400_000, seeded("cpu", 1))
    weights = process.marginal(x, k).log_prob(state.expand_as(x)).softmax(0)[:, None]
    given = process.posterior(state.expand_as(x), x, k)
    mean = (weights * given.mean).sum(0)
    spread = (given.mean - mean).square()
    error = 5 * (weights.square() * spread).sum(0).sqrt()
    best = law.best(process, state, k)
    assert ((best.mean[0] - mean).abs() < error).all()
    variance = (weights * spread).sum(0) + (0 if k == 1 else given.variance)
    error = 5 * (weights.square() * (spread - (weights * spread).sum(0)).square()).sum(0).sqrt()
    assert ((best.variance[0] - variance).abs() < error).all()


def test_the_best_rates_of_the_heartbeat_are_those_of_all_walks(study):
    """Over the five sequences, by Bayes' rule from single steps: q(s_2 | x) q(s_3 | s_2) for one bit of s_2 at a time."""
    law, process = study.Beats(), BinomialDiffusion(HarmonicVariances(), 6, 0.2)
    state = law.draw(1, seeded("cpu", 3))
    state[0, :3] = 1 - state[0, :3]
    before = process.marginal(law.sequences, 2).mean
    step = torch.stack([process.step(torch.full_like(state, bit), 3).mean for bit in (0.0, 1.0)])[:, 0]
    seen = torch.where(state[0] > 0.5, step, 1 - step)
    joint = torch.stack([(1 - before) * seen[0], before * seen[1]])
    weights = joint.sum(0).log().sum(1).softmax(0)
    rates = (weights[:, None] * joint[1] / joint.sum(0)).sum(0)
    torch.testing.assert_close(law.best(process, state, 3).mean[0], rates)


def test_data_at_one_normal_centre_loses_nothing(study):
    """Its true steps back are normal and independent: with q(s_K) as prior, log w is log p(x) on every walk."""
    law, process = study.Roll(1.0), GaussianDiffusion(CosineVariances(), 6)
    law.centres = law.centres[:1]
    end = process.marginal(law.centres, 6)
    kept = process.table(law.centres.device).log_kept[-1].exp()
    law.prior = lambda n: Gaussian(end.mean.expand(n, 2), end.variance + kept * law.variance)
    x = law.draw(50, seeded("cpu", 0))
    torch.testing.assert_close(study.floor(law, process, x, first="learned"), law.log_density(x))


@pytest.mark.parametrize("name", ["Roll", "Beats"])
def test_a_chain_of_the_best_steps_lacks_nothing_and_any_other_lacks_what_its_bound_lacks(study, name):
    law = study.Roll(1.0) if name == "Roll" else study.Beats()
    process = GaussianDiffusion(CosineVariances(), 6) if name == "Roll" else BinomialDiffusion(HarmonicVariances(), 6, 0.2)
    x = law.draw(300, seeded("cpu", 0))

    def lacks(moved):
        return study.shortfall(law, process, Chain(Paper(law), Given(law, process, moved), 6), x, first="forward")

    assert lacks(0.0).abs().max() < 1e-5
    expected = 0.5 * 2 * (math.exp(-0.5) - 1 + 0.5) if name == "Roll" else None
    found = lacks(0.5)
    assert found[0] == 0
    assert (found[1:] > 0).all()
    if expected:
        torch.testing.assert_close(found[1:], torch.full((5,), expected, dtype=torch.float64), rtol=1e-5, atol=1e-6)
    assert study.floor(law, process, x, first="forward").mean() < law.log_density(x).mean()


def test_the_page_has_a_row_for_every_floor_and_every_run(study):
    one = {"optimum": -1.0, "floor": -1.25, "error": 0.01}
    floors = [{"data": "roll", "schedule": "cosine", "first_step": "forward", **one}]
    page = study.page({"floors": floors, "runs": [{"run": "mine", **one, "shortfall": 0.5, "parts": [0.1] * study.PARTS}]})
    assert "| roll | cosine | forward | -1.000 | -1.250 | 0.250 ± 0.010 |" in page
    assert "| mine | -1.000 | -1.250 | -1.750 | 0.250 | 0.500 | 0.100 |" in page


def test_the_page_is_that_of_its_record(study):
    assert study.PAGE.read_text(encoding="utf-8") == study.page(json.loads(study.RECORD.read_text(encoding="utf-8")))
