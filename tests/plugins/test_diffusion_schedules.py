"""Variance schedules against their formulas."""

import math

import pytest
import torch

from chainkit_diffusion import CosineVariances, FixedVariances, GeometricVariances, HarmonicVariances, LearnedVariances, LinearVariances
from chainkit_diffusion.steps import Shares

KEPT_HALF = torch.tensor([0.1, 0.2, 0.3, 0.5], dtype=torch.float64)


@pytest.mark.parametrize(
    "schedule", [LinearVariances(), GeometricVariances(), CosineVariances(), HarmonicVariances(), HarmonicVariances(last=2)]
)
@pytest.mark.parametrize("steps", [1, 2, 7, 2000])
def test_fixed_schedules_are_float64_variances_without_state(schedule, steps):
    values = schedule.values(steps)
    assert values.dtype == torch.float64
    assert values.shape == (steps,)
    assert bool(((values > 0) & (values <= 1)).all())
    assert not schedule.state_dict()


def test_linear_variances_run_evenly_from_start_to_end():
    torch.testing.assert_close(LinearVariances(0.1, 0.4).values(4), torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64))


def test_geometric_variances_rise_by_the_same_factor():
    torch.testing.assert_close(GeometricVariances(0.1, 0.8).values(4), torch.tensor([0.1, 0.2, 0.4, 0.8], dtype=torch.float64))
    assert GeometricVariances(0.1, 1.0).values(7).max() <= 1


def test_the_cosine_schedule_keeps_the_squared_cosine():
    steps, offset = 50, 0.008
    share = (torch.arange(steps + 1, dtype=torch.float64) / steps + offset) / (1 + offset)
    kept = (share * math.pi / 2).cos().square()
    found = Shares.of(CosineVariances(offset).values(steps)).kept
    torch.testing.assert_close(found[:-1], (kept[1:] / kept[0])[:-1], rtol=1e-11, atol=0)
    assert CosineVariances(offset, limit=0.5).values(steps)[-1] == 0.5


def test_harmonic_variances_erase_the_same_share_at_every_step_and_end_in_noise():
    steps = 2000
    kept = Shares.of(HarmonicVariances().values(steps)).kept
    torch.testing.assert_close(kept, torch.arange(steps - 1, -1, -1, dtype=torch.float64) / steps, rtol=1e-11, atol=0)
    assert kept[-1] == 0


def test_harmonic_variances_of_the_released_code_end_at_one_half():
    torch.testing.assert_close(HarmonicVariances(last=2).values(5), 1 / torch.tensor([5, 4.25, 3.5, 2.75, 2], dtype=torch.float64))


def test_one_written_variance_stands_for_all_steps_and_a_wrong_number_is_refused():
    assert FixedVariances([0.25]).values(3).tolist() == [0.25] * 3
    assert FixedVariances([0.1, 0.2]).values(2).tolist() == [0.1, 0.2]
    with pytest.raises(ValueError, match=r"2 variances .* 3 steps"):
        FixedVariances([0.1, 0.2]).values(3)


def test_a_learned_schedule_starts_where_it_is_told_and_never_learns_the_first_variance():
    schedule = LearnedVariances(KEPT_HALF, first=0.01)
    values = schedule.values(4)
    torch.testing.assert_close(values, torch.tensor([0.01, 0.2, 0.3, 0.5], dtype=torch.float64), rtol=1e-6, atol=0)
    (gradient,) = torch.autograd.grad(values.sum(), schedule.logits)
    torch.testing.assert_close(gradient.double(), (values * (1 - values))[1:].detach(), rtol=1e-6, atol=0)
    assert set(schedule.state_dict()) == {"first", "logits"}


def test_a_learned_schedule_refuses_variances_of_one_and_another_number_of_steps():
    with pytest.raises(ValueError, match="inside"):
        LearnedVariances(HarmonicVariances().values(4))
    with pytest.raises(ValueError, match="4 variances are learned, 5"):
        LearnedVariances(KEPT_HALF).values(5)


def test_shares_keep_their_digits_where_almost_nothing_or_almost_all_is_lost():
    shares = Shares.of(torch.full((2000,), 1e-12, dtype=torch.float64))
    torch.testing.assert_close(shares.lost, torch.arange(1, 2001, dtype=torch.float64) * 1e-12, rtol=2e-9, atol=0)
    assert shares.lost_before[0] == 0
    assert Shares.of(torch.full((2000,), 0.1, dtype=torch.float64)).kept[-1] == pytest.approx(0.9**2000, rel=1e-10)
