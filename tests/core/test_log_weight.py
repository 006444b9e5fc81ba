"""log w: exact in expectation, and the same for an example whoever its batch-mates are."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import MultivariateNormal

from chainkit.batch import Batch
from chainkit.capabilities import Distribution
from chainkit.distributions import Bernoulli, Gaussian
from chainkit.errors import Interrupted
from chainkit.log_weight import log_weights
from chainkit.random import seeded
from chainkit.transition import Transition, log_ratio, total_log_ratio


@pytest.fixture
def model(affine_model):
    return affine_model(batch_norm=True, dtype=torch.float64)


@pytest.fixture
def data(points):
    return points(30, dtype=torch.float64)


def test_mean_weight_is_the_closed_form_likelihood_and_the_bound_lies_below(affine_model, data, law_of, mean_weight):
    model = affine_model(dtype=torch.float64)
    with torch.no_grad():
        for layer in model.chain.operator.layers:
            layer.weight.copy_(0.8 * torch.eye(2))
            layer.bias.zero_()
        model.chain.operator.log_variance.fill_(torch.tensor(0.4).log())
    law = law_of(model)
    assert isinstance(law, MultivariateNormal)
    log_w = log_weights(model.chain, model.process, data("train"), 4000, max_rows=50_000)
    exact = law.log_prob(data.split("train").values.double())
    estimate, error = mean_weight(log_w)
    assert ((estimate - exact).abs() < 4.5 * error).all()
    assert (log_w.mean(1) < exact + 4 * log_w.std(1) / 4000**0.5).all()
    assert (log_w.mean(1) < exact).float().mean() > 0.9


@pytest.mark.parametrize("max_rows", [1, 40, 100, 10_000])
def test_figures_do_not_depend_on_how_many_rows_walk_at_once(model, data, max_rows):
    reference = log_weights(model.chain, model.process, data("train"), 10)
    found = log_weights(model.chain, model.process, data("train"), 10, max_rows=max_rows)
    assert found.shape == (30, 10)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, reference, atol=1e-10, rtol=0)


def test_the_figure_of_an_example_does_not_depend_on_its_batch_mates(model, data):
    model.train()
    every = log_weights(model.chain, model.process, data("train"), 10)
    few = data.examples("train", 3, seed=0)
    torch.testing.assert_close(log_weights(model.chain, model.process, few, 10), every[few.index], atol=1e-10, rtol=0)


def test_in_single_precision_batch_mates_change_rounding_at_most(affine_model, points):
    model, data = affine_model(batch_norm=True), points(30)
    every = log_weights(model.chain, model.process, data("train"), 10)
    few = data.examples("train", 3, seed=0)
    torch.testing.assert_close(log_weights(model.chain, model.process, few, 10), every[few.index], atol=1e-5, rtol=1e-6)


def test_many_walks_come_in_blocks_that_extend_fewer_walks(model, data):
    examples = data.examples("train", 2)
    longer = log_weights(model.chain, model.process, examples, 600)
    assert torch.equal(longer[:, :500], log_weights(model.chain, model.process, examples, 500))
    assert longer.unique().numel() == longer.numel()


def test_walks_are_repeatable_and_differ_by_seed(model, data):
    first, second = (log_weights(model.chain, model.process, data.examples("train", seed=1), 3) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, log_weights(model.chain, model.process, data.examples("train", seed=2), 3))


def test_nothing_of_the_model_changes(model, data):
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    rng = torch.get_rng_state()
    log_w = log_weights(model.chain, model.process, data("train"), 3)
    assert not log_w.requires_grad
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(part.training for part in model.modules())
    assert torch.equal(rng, torch.get_rng_state())


def test_one_evaluation_per_state(model, data):
    log_weights(model.chain, model.process, data("train"), 4, max_rows=10_000)
    assert model.chain.operator.evaluations == model.chain.steps


def test_a_signal_stops_it(model, data, monkeypatch):
    monkeypatch.setattr("chainkit.interrupt._received", [15])
    with pytest.raises(Interrupted, match="SIGTERM"):
        log_weights(model.chain, model.process, data("train"), 3)


def step(share: torch.Tensor | None) -> Transition:
    reverse = Gaussian(torch.zeros(2, 1), torch.tensor(1.0))
    return Transition(k=1, steps=1, state=None, previous=None, origin=None, reverse=reverse, log_ratio=share)


def test_shares_are_summed_in_double_precision():
    shares = [torch.tensor([2.0**24, 1.0]), torch.tensor([1.0, 2.0])]
    total = total_log_ratio(step(share) for share in shares)
    assert total.dtype == torch.float64
    assert total.tolist() == [2.0**24 + 1, 3.0]


def test_incomplete_walks_are_refused():
    with pytest.raises(ValueError, match="without steps"):
        total_log_ratio([])
    with pytest.raises(ValueError, match="step 1 of the walk has no log_ratio"):
        total_log_ratio([step(None)])


class Drawn(Distribution):
    def sample(self, source=None) -> torch.Tensor:
        return torch.zeros(2, 1)


def test_a_step_without_density_or_target_has_no_share():
    value = torch.zeros(2, 1)
    with pytest.raises(TypeError, match="Drawn"):
        log_ratio(Drawn(), value, Bernoulli(value), value)
    torch.testing.assert_close(
        log_ratio(Bernoulli(value + 1), value, Bernoulli(value), value),
        torch.nn.functional.logsigmoid(value[:, 0] - 1) - torch.tensor(0.5).log(),
    )


def test_the_gradient_of_the_bound_is_that_of_the_closed_form(affine_model, law_of):
    """One step with the exact posterior: log w is log p(x) on every walk, whatever is drawn."""
    model = affine_model(dim=1, steps=1, dtype=torch.float64)
    layer, keep = model.chain.operator.layers[0], model.process.keep
    with torch.no_grad():
        layer.weight.fill_(keep)
        layer.bias.zero_()
        model.chain.operator.log_variance.fill_(torch.tensor(1 - keep**2).double().log())
    x = torch.linspace(-2, 2, 9).double()[:, None]
    walk = model.process.walk(model.chain, Batch.of(x), source=seeded("cpu", 0), path_gradient=True, with_log_ratio=True)
    torch.testing.assert_close(total_log_ratio(walk).detach(), law_of(model).log_prob(x))
