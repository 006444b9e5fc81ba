"""Schedules: one finite number per step, learned or in float64."""

from __future__ import annotations

import torch
from torch import nn

from chainkit.schedule import Schedule
from chainkit.testing.expect import expect, expect_tensor, expect_type
from chainkit.testing.modules import check_gradients
from chainkit.testing.resume import check_resume


def check_schedule(schedule: Schedule, steps: int, *, where: str = "schedule") -> None:
    """Checks a schedule.

    Arguments:
        schedule: The schedule.
        steps: A chain length that it goes with, at least 1.
        where: Name for messages.

    Raises:
        AssertionError: It breaks what :class:`chainkit.schedule.Schedule` promises.
    """
    expect_type(schedule, Schedule, where)
    values = schedule.values(steps)
    expect_tensor(values, (steps,), f"{where}.values({steps})")
    expect(torch.equal(values, schedule.values(steps)), f"{where}.values({steps})", "the same numbers every time", "others")
    expect(values.dtype in (torch.float32, torch.float64), f"{where}.values({steps})", "float32 or float64", values.dtype)
    learned = any(parameter.requires_grad for parameter in schedule.parameters())
    expect(
        values.requires_grad == learned, f"{where}.values({steps})", "a gradient just where the schedule is learned", values.requires_grad
    )
    if learned:
        check_gradients(schedule, (values - values.detach() - 1).square().sum(), f"{where}.values({steps})")

        def backward(own: nn.Module, update: int) -> None:
            assert isinstance(own, Schedule)
            own.values(steps).square().sum().backward()

        check_resume(schedule, backward, where)
    else:
        expect(values.dtype == torch.float64, f"{where}.values({steps})", "float64", values.dtype)
