"""Normalisation statistics: recomputed step by step for what is reported, never touched otherwise."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from chainkit.batch import Batch
from chainkit.chain import Chain
from chainkit.modes import evaluating, frozen_statistics
from chainkit.random import seeded
from chainkit.statistics import RunningStatistics, normalisers, recompute_statistics


@pytest.fixture
def batch() -> Batch:
    return Batch.of(torch.randn(200, 2, generator=seeded("cpu", 0)) * 3 + 1)


def shifted(model, batch):
    """A model whose statistics are far from those of any data."""
    for norm in model.chain.operator.norms:
        norm.running_mean.fill_(50.0)
        norm.running_var.fill_(9.0)
    return model


def test_statistics_of_every_step_are_those_of_its_states(affine_model, batch):
    model = shifted(affine_model(batch_norm=True), batch)
    recompute_statistics(model.chain, model.process, batch, source=seeded("cpu", 1))
    with torch.no_grad(), evaluating(model):
        states = [step.state for step in model.process.walk(model.chain, batch, source=seeded("cpu", 1))]
    for norm, state in zip(model.chain.operator.norms, states, strict=True):
        torch.testing.assert_close(norm.running_mean, state.mean(0))
        torch.testing.assert_close(norm.running_var, state.var(0))


class OwnPath(nn.Module):
    """A process driven by the operator itself: what the second step sees depends on the statistics of the first."""

    def walk(self, chain, batch, *, source=None, path_gradient=False, with_log_ratio=False):
        state = batch.origin
        for k in range(chain.steps, 0, -1):
            yield state
            state = chain.operator(state, k).at().sample(source)


def test_later_steps_are_drawn_with_the_earlier_ones_already_frozen(affine_model, batch):
    model = shifted(affine_model(batch_norm=True), batch)
    recompute_statistics(model.chain, OwnPath(), batch, source=seeded("cpu", 1))
    with torch.no_grad(), evaluating(model):
        states = list(OwnPath().walk(model.chain, batch, source=seeded("cpu", 1)))
    for norm, state in zip(reversed(model.chain.operator.norms), states, strict=True):
        torch.testing.assert_close(norm.running_mean, state.mean(0), atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(norm.running_var, state.var(0), atol=1e-2, rtol=1e-2)


def test_one_normaliser_for_all_steps_gets_their_average(affine_model, batch):
    model = affine_model(batch_norm=True)
    model.chain.operator.norms = nn.ModuleList([nn.BatchNorm1d(2)] * 3)
    recompute_statistics(model.chain, model.process, batch, source=seeded("cpu", 1))
    with torch.no_grad(), evaluating(model):
        states = [step.state for step in model.process.walk(model.chain, batch, source=seeded("cpu", 1))]
    torch.testing.assert_close(model.chain.operator.norms[0].running_mean, torch.stack(states).mean((0, 1)))


def test_weights_modes_and_momenta_stay_as_they_were(affine_model, batch):
    model = affine_model(batch_norm=True)
    model.train()
    first, second, _ = model.chain.operator.norms
    first.eval()
    second.momentum = 0.3
    weights = [parameter.clone() for parameter in model.parameters()]
    recompute_statistics(model.chain, model.process, batch)
    assert [norm.training for norm in model.chain.operator.norms] == [False, True, True]
    assert [norm.momentum for norm in model.chain.operator.norms] == [0.1, 0.3, 0.1]
    assert model.chain.operator.layers.training
    assert all(torch.equal(old, new) for old, new in zip(weights, model.parameters(), strict=True))


def test_modes_are_restored_when_a_walk_fails(affine_model, batch):
    model = affine_model(batch_norm=True)
    model.eval()
    with pytest.raises(RuntimeError):
        recompute_statistics(model.chain, model.process, Batch.of(torch.zeros(4, 7)))
    assert not any(module.training for module in model.modules())
    assert model.chain.operator.norms[0].momentum == 0.1


def test_without_normalisers_nothing_is_walked(affine_model, batch):
    model = affine_model()
    recompute_statistics(model.chain, model.process, batch)
    assert model.chain.operator.evaluations == 0


class Normalised(nn.Module):
    """A process with a normaliser of its own."""

    def __init__(self, inner) -> None:
        super().__init__()
        self.inner, self.norm = inner, nn.BatchNorm1d(2)

    def walk(self, chain, batch, **settings):
        self.norm(batch.origin)
        return self.inner.walk(chain, batch, **settings)


def test_networks_of_the_process_are_recomputed_too(affine_model, batch):
    model = affine_model()
    process = Normalised(model.process)
    recompute_statistics(model.chain, process, batch)
    torch.testing.assert_close(process.norm.running_mean, batch.origin.mean(0))


class Centring(nn.Module, RunningStatistics):
    """A normaliser that is none of torch's."""

    def __init__(self) -> None:
        super().__init__()
        self.track_running_stats, self.momentum = True, 0.1
        self.register_buffer("running", torch.full((2,), 9.0))

    def reset_running_stats(self) -> None:
        self.running.zero_()

    def forward(self, value: Tensor) -> Tensor:
        if not self.training:
            return value - self.running
        mean = value.mean(0)
        if self.track_running_stats:
            self.running.add_(mean.detach() if self.momentum is None else self.momentum * (mean.detach() - self.running))
        return value - mean


def test_normalisers_of_other_kinds_take_part(affine_model, batch):
    model = affine_model(steps=1)
    model.chain.operator.norms = nn.ModuleList([Centring()])
    assert len(normalisers(model)) == 1
    recompute_statistics(model.chain, model.process, batch, source=seeded("cpu", 1))
    (step,) = model.process.walk(model.chain, batch, source=seeded("cpu", 1))
    torch.testing.assert_close(model.chain.operator.norms[0].running, step.state.mean(0))


@pytest.mark.parametrize("make", [lambda: nn.BatchNorm1d(2), Centring])
def test_frozen_statistics_use_the_batch_and_keep_the_running_ones(make):
    norm, value = make(), torch.randn(50, 2, generator=seeded("cpu", 2)) + 4
    before = {name: buffer.clone() for name, buffer in norm.named_buffers()}
    with frozen_statistics(norm):
        inside = norm(value)
    assert all(torch.equal(before[name], buffer) for name, buffer in norm.named_buffers())
    assert inside.mean(0).abs().max() < 1e-5
    assert torch.equal(inside, norm(value))
    assert any(not torch.equal(before[name], buffer) for name, buffer in norm.named_buffers())


def test_frozen_statistics_in_evaluation_mode_change_nothing():
    norm, value = nn.BatchNorm1d(2).eval(), torch.randn(50, 2, generator=seeded("cpu", 2)) + 4
    with frozen_statistics(norm):
        inside = norm(value)
    assert torch.equal(inside, norm(value))


class Failure(Exception):
    pass


def fail() -> None:
    raise Failure


def failing():
    return pytest.raises(Failure)


def test_frozen_statistics_restore_what_tracked_and_nothing_else():
    norms = nn.ModuleList([nn.BatchNorm1d(2), nn.BatchNorm1d(2, track_running_stats=False)])
    with failing(), frozen_statistics(norms):
        assert not any(norm.track_running_stats for norm in norms)
        fail()
    assert [norm.track_running_stats for norm in norms] == [True, False]


def test_frozen_statistics_may_be_nested():
    norm = nn.BatchNorm1d(2)
    with frozen_statistics(norm):
        with frozen_statistics(norm):
            pass
        assert not norm.track_running_stats
    assert norm.track_running_stats


def test_evaluating_restores_the_mode_of_every_part(affine_model):
    chain: Chain = affine_model(batch_norm=True).chain
    chain.train()
    chain.operator.norms[1].eval()
    before = [part.training for part in chain.modules()]
    with failing(), evaluating(chain, chain.operator):
        assert not any(part.training for part in chain.modules())
        fail()
    assert [part.training for part in chain.modules()] == before
