"""Known laws of data: normalised, and those of what is drawn."""

import math

import pytest
import torch

from chainkit.component import Context
from chainkit.testing.tiny import tiny_data, tiny_log_density
from chainkit_datasets.hooks import chainkit_datasets

COMPONENTS = {component.name: component for component in chainkit_datasets()}
PLANE = [
    ("swiss-roll", {"noise": 0.5}),
    ("swiss-roll", {"noise": 0.5, "standardise": False}),
    ("spiral", {"noise": 0.1}),
    ("circle", {"noise": 0.1}),
    ("grid-3x3", {"noise": 0.1}),
]


def build(name, **settings):
    component = COMPONENTS[name]
    return component.make(component.config(**settings), Context())


def square_grid(low, high, step):
    axis = torch.arange(low, high, step, dtype=torch.float64)
    return torch.cartesian_prod(axis, axis)


@pytest.mark.parametrize(("name", "settings"), PLANE)
def test_the_density_of_points_integrates_to_one(name, settings):
    data = build(name, **settings)
    values = data.splits["train"].values
    reach = 1.2 * float(values.abs().max())
    step = 2 * reach / 100
    mass = data.log_density(square_grid(-reach, reach, step), None).exp().sum() * step**2
    assert float(mass) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(("name", "settings"), PLANE)
def test_the_mean_of_a_function_of_the_draws_is_that_under_the_density(name, settings):
    data = build(name, n=20_000, valid=0, test=0, **settings)
    values = data.splits["train"].values.double()
    reach = 1.2 * float(values.abs().max())
    step = 2 * reach / 100
    points = square_grid(-reach, reach, step)
    mass = data.log_density(points, None).exp() * step**2

    def features(x):
        return torch.stack([x[:, 0], x[:, 1], (3 * x[:, 0]).sin() * x[:, 1], (5 * x).cos().prod(1)], 1)

    drawn = features(values)
    error = drawn.std(0) / len(values) ** 0.5
    assert ((drawn.mean(0) - mass @ features(points)).abs() < 4.5 * error).all()


@pytest.mark.parametrize(("noise", "bits"), [(0.5, -1.94), (0.1, 0.38), (0.02, 2.70)])
def test_the_best_of_the_standardised_swiss_roll_is_what_its_documentation_says(noise, bits):
    data = build("swiss-roll", noise=noise, n=500)
    found = data.log_density(data.splits["train"].values, None) / math.log(2)
    assert float(found.mean()) == pytest.approx(bits, abs=0.005 + 4 * float(found.std()) / 500**0.5)


def test_the_circle_goes_round_once_and_is_the_same_at_every_angle():
    angle = torch.linspace(0, 2 * math.pi, 9, dtype=torch.float64)
    around = build("circle", noise=0.1).log_density(torch.stack([angle.cos(), angle.sin()], 1), None)
    torch.testing.assert_close(around, around[:1].expand(9))


def test_points_without_noise_have_no_density():
    assert build("circle", noise=0.0).log_density is None


def test_heartbeats_are_equally_likely_and_nothing_else_is_possible():
    data = build("heartbeat")
    values = data.splits["train"].values.float()
    assert data.log_density(values, None).tolist() == pytest.approx([-math.log(5)] * len(values))
    broken = values[:3].clone()
    broken[:, 7] = 1 - broken[:, 7]
    assert (data.log_density(broken, None) == -math.inf).all()


def test_labelled_heartbeats_are_certain_given_their_phase():
    data = build("heartbeat", labels=True)
    batch = data.batch("train", torch.arange(20), None)
    assert (data.log_density(batch.origin, batch.condition) == 0).all()
    assert (data.log_density(batch.origin, (batch.condition + 1) % 5) == -math.inf).all()


def test_labelled_points_of_the_grid_have_the_density_of_their_gaussian():
    data = build("grid-3x3", labels=True, noise=0.2)
    batch = data.batch("train", torch.arange(2000), None)
    found = data.log_density(batch.origin, batch.condition)
    assert float(found.mean()) == pytest.approx(
        -math.log(2 * math.pi * 0.2**2) - 1, abs=4 / 2000**0.5
    )  # the entropy; chi^2 / 2 of 2 has variance 1
    points = square_grid(-3.0, 3.0, 0.02)
    each = torch.stack([data.log_density(points, torch.full((len(points),), label)) for label in range(9)])
    assert (each.exp().sum(1) * 0.02**2).tolist() == pytest.approx([1.0] * 9, abs=1e-6)
    unlabelled = build("grid-3x3", noise=0.2).log_density(points, None)
    torch.testing.assert_close(each.logsumexp(0) - math.log(9), unlabelled, rtol=1e-9, atol=1e-9)


def test_the_classes_of_the_tiny_data_mix_to_the_whole():
    points = square_grid(0.05, 1.0, 0.1)
    each = torch.stack([tiny_log_density(points, torch.full((len(points),), label)) for label in range(3)])
    torch.testing.assert_close(each.logsumexp(0) - math.log(3), tiny_log_density(points))
    data = tiny_data(conditional=True)
    batch = data.batch("train", torch.arange(5), None)
    torch.testing.assert_close(data.log_density(batch.origin, batch.condition), tiny_log_density(batch.origin, batch.condition))


def test_the_density_of_the_tiny_data_is_that_of_its_draws():
    points = square_grid(0.0005, 1.0, 0.001)
    mass = tiny_log_density(points).exp() * 1e-6
    assert float(mass.sum()) == pytest.approx(1, abs=1e-3)
    values = torch.cat([split.values for split in tiny_data().splits.values()]).double()
    for feature in (lambda x: x[:, 0], lambda x: x.prod(1), lambda x: (x[:, 0] - x[:, 1]).square()):
        drawn = feature(values)
        assert abs(float(drawn.mean() - mass @ feature(points))) < 4.5 * float(drawn.std()) / len(values) ** 0.5
