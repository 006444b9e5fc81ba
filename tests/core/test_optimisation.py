"""Optimisers: one per set of parameters, each with its rate, its gradient and its state."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from chainkit.errors import CheckpointError, NonFiniteError, RecipeError
from chainkit.optimisation import DEFAULT, Optimisers, parameter_sets
from chainkit.snapshot import Snapshot


@pytest.fixture
def model() -> nn.ModuleDict:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.ModuleDict({"a": nn.Linear(2, 3), "b": nn.Linear(3, 1)})


def adam(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=0.1)


def momentum(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.2, momentum=0.9)


def both(model: nn.ModuleDict, **settings) -> Optimisers:
    sets = parameter_sets(model, {"critic": list(model["b"].parameters())})
    return Optimisers(sets, {DEFAULT: adam, "critic": momentum}, **settings)


def loss(model: nn.ModuleDict) -> torch.Tensor:
    return model["b"](model["a"](torch.ones(4, 2).to(model["a"].weight)).tanh()).square().mean()


def test_what_no_set_names_forms_the_default_one(model):
    sets = parameter_sets(model, {"critic": list(model["b"].parameters())})
    assert [id(p) for p in sets[DEFAULT]] == [id(p) for p in model["a"].parameters()]
    assert [id(p) for p in sets["critic"]] == [id(p) for p in model["b"].parameters()]


def test_frozen_parameters_are_in_no_set(model):
    model["a"].bias.requires_grad_(False)
    model["b"].bias.requires_grad_(False)
    sets = parameter_sets(model, {"critic": list(model["b"].parameters())})
    assert {name: len(parameters) for name, parameters in sets.items()} == {DEFAULT: 1, "critic": 1}


def test_shared_parameters_are_updated_once(model):
    model["c"] = model["a"]
    assert len(parameter_sets(model, {})[DEFAULT]) == 4


def test_sets_without_parameters_get_no_optimiser(model):
    optimisers = Optimisers(parameter_sets(model, {"critic": list(model.parameters())}), {"critic": adam})
    assert set(optimisers.optimizers) == {"critic"}
    with pytest.raises(RecipeError, match="no trainable parameters in the set 'model'"):
        optimisers.parameters(None)


def test_unknown_sets_are_refused(model):
    with pytest.raises(RecipeError, match="'judge'"):
        both(model).parameters("judge")


def test_applying_one_set_leaves_the_other_and_its_gradient(model):
    optimisers = both(model)
    loss(model).backward()
    kept, gradient = model["b"].weight.clone(), model["b"].weight.grad.clone()
    optimisers.apply(DEFAULT)
    assert model["a"].weight.grad is None
    assert torch.equal(model["b"].weight, kept)
    assert torch.equal(model["b"].weight.grad, gradient)


def test_rates_are_scaled_from_their_initial_values(model):
    optimisers = both(model)
    for factor in (0.5, 0.5, 0.1):
        optimisers.scale_rates(factor)
    assert optimisers.rate() == pytest.approx(0.01)
    assert optimisers.optimizers["critic"].param_groups[0]["lr"] == pytest.approx(0.02)


@pytest.mark.parametrize("limit", [1e-3, 1e3])
def test_clipping_bounds_the_norm_of_a_set_and_only_where_it_exceeds(model, limit):
    model.double()
    optimisers = Optimisers(parameter_sets(model, {}), {DEFAULT: lambda p: torch.optim.SGD(p, lr=1.0)}, clip_norm=limit)
    loss(model).backward()
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    optimisers.apply(DEFAULT)
    scale = min(1.0, limit / float(norm))
    for old, new, gradient in zip(before, model.parameters(), gradients, strict=True):
        torch.testing.assert_close(old - new.detach(), scale * gradient, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("clip", [None, 1.0])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_gradient_that_is_no_number_is_not_applied(model, clip, value):
    optimisers = both(model, clip_norm=clip)
    loss(model).backward()
    model["a"].weight.grad[0, 0] = value
    before = model["a"].weight.clone()
    with pytest.raises(NonFiniteError, match="the gradient of model"):
        optimisers.apply(DEFAULT)
    assert torch.equal(model["a"].weight, before)


def test_parameters_whose_squares_overflow_are_finite(model):
    optimisers = both(model)
    with torch.no_grad():
        model["a"].weight[0, 0] = 1e30
    loss(model).backward()
    assert optimisers.apply(DEFAULT, torch.tensor(2.0)) == 2.0


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_parameters_that_are_no_numbers_are_found(model, value):
    optimisers = both(model)
    with torch.no_grad():
        model["a"].weight[0, 0] = value
    with pytest.raises(NonFiniteError, match="a parameter of model is not finite"):
        optimisers.require_finite()


class Counted(torch.optim.Optimizer):
    """Counts in its groups, as schedule-free optimisers do: a number, a tensor, and one that appears on the way."""

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        super().__init__(parameters, {"lr": 0.1, "betas": (0.5, 0.9), "updates": 0, "norm": torch.zeros(())})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            group["updates"] += 1
            group["largest"] = max(group.get("largest", 0.0), *(float(p.grad.abs().max()) for p in group["params"]))
            for parameter in group["params"]:
                group["norm"].add_(parameter.grad.norm())
                parameter.sub_(parameter.grad * group["lr"] / (group["updates"] * (group["largest"] + group["norm"])))


def test_only_what_an_optimiser_has_changed_of_its_groups_is_kept(model):
    optimisers = Optimisers(parameter_sets(model, {}), {DEFAULT: Counted})
    assert optimisers.state() == ({}, {})
    loss(model).backward()
    optimisers.apply(DEFAULT)
    tensors, numbers = optimisers.state()
    assert list(tensors) == ["model/group0/norm"]
    assert set(numbers) == {"model/group0/updates", "model/group0/largest"}
    optimisers.restore({}, {})  # as before the first update, or as a checkpoint of an earlier version has it
    [group] = optimisers.optimizers[DEFAULT].param_groups
    assert (group["updates"], float(group["norm"]), "largest" in group) == (0, 0.0, False)
    assert group["betas"] == (0.5, 0.9)


def test_what_is_counted_in_groups_is_taken_back_with_its_update(model):
    optimisers = Optimisers(parameter_sets(model, {}), {DEFAULT: Counted})
    before = Snapshot(model, optimisers)
    for _ in range(2):
        loss(model).backward()
        before.begin(), before.complete()
        kept = optimisers.state()[1]
        optimisers.apply(DEFAULT)
        assert optimisers.state()[1] != kept
        before.restore()
        assert optimisers.state()[1] == kept
        loss(model).backward()
        optimisers.apply(DEFAULT)


@pytest.mark.parametrize(
    "factory",
    [
        Counted,
        adam,
        momentum,
        lambda p: torch.optim.SGD(p, lr=0.1),
        lambda p: torch.optim.RMSprop(p, lr=0.01),
        lambda p: torch.optim.AdamW(p, lr=0.01, amsgrad=True),
        lambda p: torch.optim.NAdam(p, lr=0.01),
        lambda p: torch.optim.Adagrad(p, lr=0.1),
    ],
)
def test_restored_optimisers_go_on_as_if_never_stopped(model, factory):
    def advance(model: nn.Module, optimisers: Optimisers, updates: int) -> None:
        for _ in range(updates):
            loss(model).backward()
            optimisers.apply(DEFAULT)

    optimisers = Optimisers(parameter_sets(model, {}), {DEFAULT: factory})
    advance(model, optimisers, 3)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    tensors, numbers = optimisers.state()
    tensors, numbers = {name: value.clone() for name, value in tensors.items()}, json.loads(json.dumps(numbers))
    advance(model, optimisers, 3)

    again = nn.ModuleDict({"a": nn.Linear(2, 3), "b": nn.Linear(3, 1)})
    again.load_state_dict(weights)
    restored = Optimisers(parameter_sets(again, {}), {DEFAULT: factory})
    restored.restore(tensors, numbers)
    advance(again, restored, 3)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())


def test_restored_state_is_a_copy(model):
    optimisers = both(model)
    loss(model).backward()
    optimisers.apply(DEFAULT), optimisers.apply("critic")
    tensors, numbers = optimisers.state()
    kept = {name: value.clone() for name, value in tensors.items()}
    other = both(nn.ModuleDict({"a": nn.Linear(2, 3), "b": nn.Linear(3, 1)}))
    other.restore(tensors, numbers)
    for name in (DEFAULT, "critic"):
        for parameter in other.sets[name]:
            parameter.grad = torch.ones_like(parameter)
        other.apply(name)
    assert all(torch.equal(kept[name], value) for name, value in tensors.items())


def test_a_state_of_other_shapes_is_the_checkpoints_fault_and_later_errors_are_not(model):
    optimisers = both(model)
    loss(model).backward()
    optimisers.apply(DEFAULT)
    tensors, numbers = optimisers.state()
    turned = {name: value.T.contiguous() if value.dim() == 2 else value for name, value in tensors.items()}
    for state, error in ((turned, CheckpointError), (tensors, RuntimeError)):
        optimisers.restore(state, numbers)
        if error is RuntimeError:
            loss(model).backward()
            optimisers.apply(DEFAULT)
            for entries in optimisers.optimizers[DEFAULT].state.values():
                entries["exp_avg"] = torch.ones(7, 5)
        loss(model).backward()
        with pytest.raises(error):
            optimisers.apply(DEFAULT)


@pytest.mark.parametrize("optimizer", [adam, momentum])
def test_what_is_remembered_of_a_gradient_that_ended_is_flushed_and_nothing_else(optimizer):
    """A gradient of 1e-6 that ends falls below 1.2e-38 after some 700 updates, and stays a number for 150 more."""
    ended = {every: trained(optimizer, every) for every in (50, 10**6)}
    smallest = torch.finfo(torch.float32).tiny
    for every, (weight, state) in ended.items():
        subnormal = [value for value in state.values() if bool(((value != 0) & (value.abs() < smallest)).any())]
        assert len(subnormal) == (every > 50)
        torch.testing.assert_close(weight, ended[50][0], rtol=0, atol=0)
        for key, value in state.items():
            kept = value.abs() >= smallest
            torch.testing.assert_close(value[kept], ended[50][1][key][kept], rtol=0, atol=0)


def trained(optimizer, every: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The weights after 750 updates, of which one has a gradient in the first only, and the state of the optimiser."""
    weight = nn.Parameter(torch.ones(2))
    optimisers = Optimisers({DEFAULT: [weight]}, {DEFAULT: optimizer})
    for update in range(1, 751):
        weight.grad = torch.tensor([1e-6 * (update == 1), 1e-6])
        optimisers.apply(DEFAULT)
        if update % every == 0:
            optimisers.flush()
    return weight.detach(), {key: value for key, value in optimisers.optimizers[DEFAULT].state[weight].items() if value.dim()}
