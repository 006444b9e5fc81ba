"""Temperatures by step, and the chain length that reaches one."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainkit import Schedule
from chainkit_walkback import Constant, Geometric


def test_geometric_starts_at_one_for_equation_6_and_at_the_ratio_for_equation_14():
    assert Geometric(1.0, 2.0).values(4).tolist() == [1.0, 2.0, 4.0, 8.0]
    assert Geometric(2.0, 2.0).values(3).tolist() == [2.0, 4.0, 8.0]


def test_the_default_is_that_of_appendix_b():
    assert Geometric().values(5).tolist() == pytest.approx([1, 2**0.5, 2, 2**1.5, 4])


@pytest.mark.parametrize(("ratio", "value"), [(2.0, 64.0), (2.0, 65.0), (2.0, 63.0), (math.sqrt(2), 64.0), (1.1, 1.1**30), (1.5, 100.0)])
def test_the_chain_length_is_one_plus_the_logarithm_of_the_variance_ratio(ratio, value):
    exact = math.log(value) / math.log(ratio)
    steps = 1 + (round(exact) if abs(exact - round(exact)) < 1e-9 else math.ceil(exact))
    assert Geometric(1.0, ratio).steps_to_reach(value) == steps


@settings(max_examples=200, deadline=None)
@given(start=st.floats(0.1, 10), ratio=st.floats(1.01, 4), value=st.floats(0.01, 1e6))
def test_the_closed_form_agrees_with_the_search(start, ratio, value):
    schedule = Geometric(start, ratio)
    assert schedule.steps_to_reach(value) == Schedule.steps_to_reach(schedule, value, limit=2000)


@pytest.mark.parametrize("steps", range(1, 40))
@pytest.mark.parametrize("ratio", [2.0, math.sqrt(2), 1.1])
def test_a_temperature_of_the_schedule_is_reached_at_its_own_step(ratio, steps):
    schedule = Geometric(1.0, ratio)
    value = float(schedule.values(steps)[-1])
    assert schedule.steps_to_reach(value) == Schedule.steps_to_reach(schedule, value, limit=100) == steps


@pytest.mark.parametrize(("schedule", "value"), [(Geometric(1.0, 0.9), 2.0), (Geometric(1.0, 1.0), 1.5), (Geometric(1.0, 1.0001), 1e9)])
def test_a_temperature_out_of_reach_is_refused(schedule, value):
    with pytest.raises(ValueError, match="does not reach"):
        schedule.steps_to_reach(value)


def test_constant_is_constant():
    assert Constant(0.3).values(3).tolist() == [0.3] * 3
    assert Constant(0.3).steps_to_reach(0.3) == 1
    with pytest.raises(ValueError, match="does not reach"):
        Constant(0.3).steps_to_reach(0.4)


@pytest.mark.parametrize("settings", [{"start": 0.0}, {"ratio": -1.0}])
def test_impossible_settings_are_refused(settings):
    with pytest.raises(ValueError, match="above 0"):
        Geometric(**settings)
