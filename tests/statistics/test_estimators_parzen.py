"""The Parzen window against scikit-learn and closed forms, in chunks and whole, and on chains whose law is known."""

import math

import pytest
import torch
from sklearn.neighbors import KernelDensity
from torch.distributions import MultivariateNormal, Normal

from chainkit import Chain, Data, TransitionOperator
from chainkit.data import Split
from chainkit.distributions import Distribution
from chainkit.errors import DataError
from chainkit.kernel import GaussianKernel, UntemperedKernel
from chainkit.preparation import Unprepared
from chainkit.random import seeded
from chainkit_estimators import Parzen
from chainkit_estimators.parzen import CAVEAT, GRID, fit, log_density
from chainkit_estimators.samples import BLOCK
from chainkit_priors import GaussianPrior

DIM, SPREAD = 2, 0.7


class Cloud(TransitionOperator):
    """N(0, spread^2) around 0, as a mean that follows the prior and a little noise of its own."""

    def __init__(self, spread=SPREAD, noise=0.3):
        super().__init__()
        self.scale = math.sqrt(spread**2 - noise**2)
        self.noise = noise

    def forward(self, state, k, condition=None):
        mean = self.scale * state if condition is None else self.scale * state + condition.double()[:, None]
        return GaussianKernel(mean, torch.full_like(mean, self.noise**2))


class Nameless(Distribution):
    def __init__(self, state):
        self.state = state

    def sample(self, source=None):
        return self.state


class Copying(TransitionOperator):
    """Its steps have no mean."""

    def forward(self, state, k, condition=None):
        return UntemperedKernel(Nameless(state))


def chain_of(operator, dim=DIM):
    return Chain(GaussianPrior(torch.zeros(dim).double(), torch.ones(dim).double()), operator, 1)


def gaussian_data(spread=SPREAD, n=2000, valid=500, test=1000, dim=DIM):
    generator = seeded("cpu", 3)
    splits = [spread * torch.randn(size, dim, generator=generator, dtype=torch.float64) for size in (n, valid, test)]
    data = Data.of(splits[0], valid=splits[1] if valid else None, test=splits[2])
    data.to("cpu", torch.float64)
    return data


def some_points(n, dim, seed):
    return torch.randn(n, dim, generator=seeded("cpu", seed), dtype=torch.float64)


@pytest.mark.parametrize("dim", [1, 3, 50])
@pytest.mark.parametrize("sigma", [0.05, 0.6, 4.0])
def test_it_is_the_mean_of_the_densities_around_all_centres(dim, sigma):
    points, centres = some_points(40, dim, 0), 1.3 * some_points(BLOCK + 70, dim, 1)
    found = log_density(points, centres, torch.tensor([sigma], dtype=torch.float64)).squeeze(1)
    every = Normal(centres, sigma).log_prob(points[:, None]).sum(2)
    torch.testing.assert_close(found, every.logsumexp(1) - math.log(len(centres)), rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("dim", [1, 3])  # in many dimensions, or at small widths, scikit-learn's own sums lose digits
@pytest.mark.parametrize("sigma", [0.3, 0.6, 4.0])
def test_it_is_the_kernel_density_of_scikit_learn(dim, sigma):
    points, centres = some_points(40, dim, 0), 1.3 * some_points(BLOCK + 70, dim, 1)
    found = log_density(points, centres, torch.tensor([sigma], dtype=torch.float64)).squeeze(1)
    expected = KernelDensity(bandwidth=sigma, rtol=0, atol=0).fit(centres.numpy()).score_samples(points.numpy())
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=1e-9, atol=1e-9)


def test_one_centre_is_a_gaussian():
    points, centre = some_points(10, 4, 0), torch.ones(1, 4).double()
    found = log_density(points, centre, torch.tensor([0.3, 2.0], dtype=torch.float64))
    expected = torch.stack([Normal(centre, sigma).log_prob(points).sum(1) for sigma in (0.3, 2.0)], 1)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-10)


def test_it_does_not_depend_on_how_much_is_held_at_once():
    points, centres = some_points(30, 3, 0), some_points(2 * BLOCK + 7, 3, 1)
    sigmas = torch.tensor([0.1, 0.5], dtype=torch.float64)
    whole = log_density(points, centres, sigmas)
    torch.testing.assert_close(log_density(points, centres, sigmas, max_rows=7), whole, rtol=1e-13, atol=1e-12)
    torch.testing.assert_close(log_density(points, centres.flip(0), sigmas), whole, rtol=1e-12, atol=1e-11)


def test_far_away_it_neither_overflows_nor_loses_digits():
    points = 1000.0 + some_points(5, 3, 0)
    centres = 1000.0 + some_points(9, 3, 1)
    near = log_density(points - 1000, centres - 1000, torch.tensor([0.01], dtype=torch.float64))
    assert near.isfinite().all()
    torch.testing.assert_close(log_density(points, centres, torch.tensor([0.01], dtype=torch.float64)), near, rtol=1e-8, atol=0)


def test_float32_points_are_accumulated_in_float64():
    points, centres = some_points(20, 5, 0).float(), some_points(3000, 5, 1).float()
    sigma = torch.tensor([0.2], dtype=torch.float64)
    found = log_density(points, centres, sigma)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, log_density(points.double(), centres.double(), sigma), rtol=1e-13, atol=0)


def test_of_many_draws_of_a_gaussian_it_is_the_blurred_gaussian():
    """At a fixed width, p^ tends to N(0, spread^2 + sigma^2), its error falling as 1 / n."""
    sigma, exact = 0.3, MultivariateNormal(torch.zeros(DIM).double(), (SPREAD**2 + 0.3**2) * torch.eye(DIM).double())
    examples = gaussian_data()("test")
    target = exact.log_prob(examples.data.split("test").values).mean().item()
    distances = []
    for samples in (100, 10_000):
        found = Parzen(samples=samples, centres="draws", sigma=sigma).estimate(chain_of(Cloud()), None, examples)
        distances.append(abs(found.value - target))
    assert distances[1] < 0.01
    assert distances[1] < distances[0] / 5


def test_the_best_width_brings_it_near_the_entropy():
    data = gaussian_data()
    found = Parzen(samples=4000, centres="draws", chosen_on=300).estimate(chain_of(Cloud()), None, data("test"))
    law = MultivariateNormal(torch.zeros(DIM).double(), SPREAD**2 * torch.eye(DIM).double())
    exact = law.log_prob(data.split("test").values)
    assert found.value == pytest.approx(exact.mean().item(), abs=0.03)
    # The estimated density is about N(0, (SPREAD^2 + sigma^2) I), under which log p(x) varies by so much less.
    shrunk = SPREAD**2 / (SPREAD**2 + found.details["sigma"] ** 2)
    assert found.error_examples == pytest.approx(shrunk * exact.std().item() / len(exact) ** 0.5, rel=0.05)


def test_the_width_is_the_best_on_the_grid_for_validation_examples():
    data = gaussian_data()
    centres = some_points(200, DIM, 1) * SPREAD
    valid = data("valid")
    best = fit(centres, valid, SPREAD, 100)
    figures = {
        factor: log_density(data.split("valid").values, centres, torch.tensor([best.sigma * factor], dtype=torch.float64)).mean()
        for factor in (0.8, 1, 1.25)
    }
    assert figures[1] == max(figures.values())
    assert not best.at_the_end


def test_a_width_at_the_end_of_the_grid_is_said():
    data = gaussian_data(n=20)
    found = Parzen(samples=400, centres="draws").estimate(chain_of(Cloud(spread=60.0)), None, data("test"))
    assert any("end of the grid" in warning for warning in found.warnings)
    fine = Parzen(samples=400, centres="draws").estimate(chain_of(Cloud()), None, data("test"))
    assert fine.warnings == (CAVEAT,)


@pytest.mark.parametrize(("scale", "place"), [(1.0, 0), (1e-4, -1)])
def test_both_ends_of_the_grid_are_ends(scale, place):
    examples = gaussian_data(n=20)("test")
    centres = examples.data.split("test").values.double() + (0 if place == 0 else 1.0)
    best = fit(centres, examples, scale, 1000)
    assert best.at_the_end
    assert best.sigma == scale * GRID[place]


def test_means_are_less_noisy_than_draws():
    """The means of the last step have the spread without its noise."""
    data = gaussian_data()
    means = Parzen(samples=3000, sigma=0.3).estimate(chain_of(Cloud(noise=0.5)), None, data("test"))
    blurred = MultivariateNormal(torch.zeros(DIM).double(), (SPREAD**2 - 0.5**2 + 0.3**2) * torch.eye(DIM).double())
    assert means.value == pytest.approx(blurred.log_prob(data.split("test").values).mean().item(), abs=0.05)


def test_widths_go_by_tenths_of_a_decade_from_a_thirtieth_to_three():
    steps = torch.tensor(GRID, dtype=torch.float64).log10()
    torch.testing.assert_close(steps, torch.linspace(-1.5, 0.5, 21, dtype=torch.float64))


def test_what_it_is_made_of_is_said():
    found = Parzen(samples=700, sigma=0.17).estimate(chain_of(Cloud()), None, gaussian_data()("test"))
    assert "width 0.17 (given) around 700 means of the last step" in found.meaning
    assert found.details == {"sigma": 0.17, "samples": 700, "centres": "means", "sigma_of_training_examples": 0.17}
    assert not found.likelihood
    assert found.bits_per_dim is None
    assert "of 700 training examples" in found.beside


def test_without_a_validation_split_the_width_is_chosen_on_training_examples_that_are_no_centres():
    data = gaussian_data(n=300, valid=0)
    found = Parzen(samples=500, centres="draws").estimate(chain_of(Cloud()), None, data("test"))
    assert "chosen on 30 held-out training examples" in found.meaning
    assert "of 270 training examples" in found.beside


def test_it_depends_neither_on_max_rows_nor_on_the_training_mode():
    data = gaussian_data(test=50)
    values = {
        Parzen(samples=BLOCK + 30, sigma=0.2, max_rows=rows).estimate(chain_of(Cloud()).train(), None, data("test")).value
        for rows in (13, 1000)
    }
    assert max(values) - min(values) < 1e-12


@pytest.mark.parametrize("sigma", [None, 0.3])
def test_what_is_stopped_is_taken_up_piece_by_piece(sigma, stopped_and_taken_up):
    estimator = Parzen(samples=BLOCK + 1, sigma=sigma, max_rows=300)
    whole, resumed, pieces = stopped_and_taken_up(
        lambda examples: estimator.estimate(chain_of(Cloud()), None, examples), gaussian_data().examples("test", 400)
    )
    assert resumed == whole
    assert pieces >= 6


def test_conditional_chains_are_given_their_conditions():
    splits = {name: Split(values=split.values, labels=torch.full((len(split),), 5)) for name, split in gaussian_data().splits.items()}
    data = Data("labelled", splits, Unprepared(), classes=6)
    data.to("cpu", torch.float64)
    far = Parzen(samples=BLOCK + 100, sigma=0.5).estimate(chain_of(Cloud()), None, data("test"))
    assert far.value < -50


def test_a_last_step_without_a_mean_is_refused_unless_draws_are_wanted():
    with pytest.raises(DataError, match="no mean; take draws"):
        Parzen(samples=10).check(chain_of(Copying()), gaussian_data()("test"))
    with pytest.raises(DataError, match="no mean; take draws"):
        Parzen(samples=10).estimate(chain_of(Copying()), None, gaussian_data()("test"))
    found = Parzen(samples=2000, centres="draws", sigma=0.3).estimate(chain_of(Copying()), None, gaussian_data()("test"))
    exact = MultivariateNormal(torch.zeros(DIM).double(), 1.09 * torch.eye(DIM).double())
    assert found.value == pytest.approx(exact.log_prob(gaussian_data().split("test").values).mean().item(), abs=0.05)


def test_samples_of_another_shape_are_refused():
    with pytest.raises(TypeError, match="of the shape of an example"):
        Parzen(samples=10).estimate(chain_of(Cloud(), dim=3), None, gaussian_data()("test"))


def test_the_same_examples_may_be_judged_in_another_preparation():
    binary, grey = (gaussian_data(test=200) for _ in range(2))
    for name, split in binary.splits.items():
        binary.splits[name] = Split(values=(split.values > 0).double())
    estimator = Parzen(samples=300, sigma=0.3, data=grey)
    found = estimator.estimate(chain_of(Cloud()), None, binary.examples("test", 50, seed=4))
    assert found == Parzen(samples=300, sigma=0.3).estimate(chain_of(Cloud()), None, grey.examples("test", 50, seed=4))
    with pytest.raises(DataError, match="other examples"):
        Parzen(samples=10, data=gaussian_data(test=201)).estimate(chain_of(Cloud()), None, binary("test"))
