"""Optimisers are torch's own with the settings of the recipe; decays are their formulas."""

from __future__ import annotations

import math

import pytest
import torch

from chainkit.component import Context
from chainkit_optim import configs, decay_configs, hooks

OPTIMIZERS = {component.name: component for component in hooks.chainkit_optimizers()}
DECAYS = {component.name: component for component in hooks.chainkit_decays()}

TORCH = {
    "adam": (torch.optim.Adam, {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.1, "amsgrad": True}),
    "adamw": (torch.optim.AdamW, {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.1, "amsgrad": True}),
    "sgd": (torch.optim.SGD, {"lr": 0.02, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    "rmsprop": (torch.optim.RMSprop, {"lr": 0.02, "alpha": 0.9, "eps": 1e-6, "momentum": 0.5, "centered": True, "weight_decay": 0.1}),
}


def parameters(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator, dtype=dtype)) for shape in [(3, 2), (4,)]]


def descend(make, dtype=torch.float64):
    """The parameters after some updates on a quadratic."""
    given = parameters(dtype)
    optimizer = make(given)
    for _ in range(5):
        optimizer.zero_grad()
        sum((parameter - 1).square().sum() for parameter in given).backward()
        optimizer.step()
    return given


def built(registry, name, **settings):
    component = registry[name]
    return component.make(component.config(**settings), Context())


@pytest.mark.parametrize("fused", [None, False, True])
@pytest.mark.parametrize("name", TORCH)
def test_an_optimizer_updates_as_torch_does_with_the_same_settings(name, fused):
    optimizer, settings = TORCH[name]
    ours = {key: list(value) if isinstance(value, tuple) else value for key, value in settings.items()}
    if name != "rmsprop":
        ours["fused"] = fused
    expected = descend(lambda given: optimizer(given, **settings))
    torch.testing.assert_close(descend(built(OPTIMIZERS, name, **ours)), expected)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_optimizers_are_fused_where_torch_can(name):
    make = built(OPTIMIZERS, name, lr=0.1)
    assert make(parameters()).defaults["fused"] is True
    assert make([torch.nn.Parameter(torch.zeros(2, dtype=torch.complex64))]).defaults["fused"] is False


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_examples_build(name):
    optimizer = built(OPTIMIZERS, name, **OPTIMIZERS[name].example)(parameters())
    assert isinstance(optimizer, torch.optim.Optimizer)


@pytest.mark.parametrize(
    ("config", "settings"),
    [
        (configs.AdamConfig, {"lr": 0.0}),
        (configs.AdamConfig, {"betas": [0.9]}),
        (configs.AdamConfig, {"betas": [0.9, 1.0]}),
        (configs.SGDConfig, {"lr": 0.1, "nesterov": True}),
        (configs.RMSpropConfig, {"alpha": 1.0}),
        (decay_configs.CosineConfig, {"final": 1.5}),
        (decay_configs.ExponentialConfig, {"final": 0.0}),
        (decay_configs.MilestonesConfig, {"at": [0.5, 0.2]}),
        (decay_configs.MilestonesConfig, {"at": []}),
        (decay_configs.StepConfig, {"every": 0}),
    ],
)
def test_impossible_settings_are_refused(config, settings):
    with pytest.raises(ValueError, match=r"must|needs"):
        config(**settings)


@pytest.mark.parametrize(
    ("name", "at_half", "at_end"),
    [("cosine", 0.1 + 0.9 * 0.5, 0.1), ("linear", 0.1 + 0.9 * 0.5, 0.1), ("exponential", math.sqrt(0.1), 0.1)],
)
def test_a_smooth_decay_falls_from_one_to_its_final_factor(name, at_half, at_end):
    decay = built(DECAYS, name, final=0.1)
    assert [decay(0, 100), decay(50, 100), decay(100, 100)] == pytest.approx([1.0, at_half, at_end])
    factors = [decay(update, 100) for update in range(101)]
    assert factors == sorted(factors, reverse=True)


def test_cosine_is_half_a_cosine():
    decay = built(DECAYS, "cosine")
    assert decay(25, 100) == pytest.approx((1 + math.cos(math.pi / 4)) / 2)


@pytest.mark.parametrize("name", ["cosine", "linear", "exponential"])
def test_the_rise_is_linear_and_what_follows_takes_the_updates_that_are_left(name):
    decay, without = built(DECAYS, name, warmup=4), built(DECAYS, name)
    assert [decay(update, 24) for update in range(5)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert decay(14, 24) == pytest.approx(without(10, 20))


def test_a_rise_longer_than_training_ends_on_the_way():
    assert built(DECAYS, "cosine", warmup=99)(9, 10) == pytest.approx(0.1)


def test_milestones_drop_at_their_shares_of_training():
    decay = built(DECAYS, "milestones", at=[0.5, 0.75], factor=0.5)
    assert [decay(update, 8) for update in range(8)] == [1, 1, 1, 1, 0.5, 0.5, 0.25, 0.25]


def test_step_drops_every_so_many_updates():
    decay = built(DECAYS, "step", every=3, factor=0.5)
    assert [decay(update, 8) for update in range(8)] == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25]


@pytest.mark.parametrize("name", DECAYS)
def test_factors_stay_in_the_unit_interval(name):
    decay = built(DECAYS, name, **DECAYS[name].example)
    assert all(0 <= decay(update, 50) <= 1 for update in range(51))
