"""Batch normalisation per step: what torch's own layer would give at each step, and statistics that can be recomputed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from chainkit.batch import Batch
from chainkit.chain import Chain
from chainkit.distributions import Gaussian
from chainkit.errors import RecipeError
from chainkit.kernel import GaussianKernel
from chainkit.modes import frozen_statistics
from chainkit.operator import TransitionOperator
from chainkit.prior import Prior
from chainkit.process import ForwardProcess
from chainkit.random import seeded
from chainkit.statistics import recompute_statistics
from chainkit.transition import Transition
from chainkit_networks import MLP, SharedBatchNorm, StepBatchNorm

STEPS, FEATURES = 4, 3


def values(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def randomised(norm):
    """Parameters and statistics as after some training."""
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for tensor in (norm.weight, norm.bias, norm.running_mean):
            tensor.normal_(generator=generator)
        norm.running_var.uniform_(0.5, 2.0, generator=generator)
    return norm


@pytest.mark.parametrize("space", [(), (5, 2)])
def test_training_equals_a_torch_layer_per_step(space):
    norm = randomised(StepBatchNorm(FEATURES, STEPS)).double()
    given = values(8, FEATURES, *space, dtype=torch.float64)
    for k in range(1, STEPS + 1):
        torch_norm = nn.modules.batchnorm.BatchNorm2d if space else nn.BatchNorm1d
        twin = torch_norm(FEATURES).double()
        twin.load_state_dict({name: tensor[k - 1] for name, tensor in norm.state_dict().items()})
        torch.testing.assert_close(norm(given, k), twin(given))
        torch.testing.assert_close(norm.running_mean[k - 1], twin.running_mean)
        assert norm.num_batches_tracked[k - 1] == twin.num_batches_tracked


@pytest.mark.parametrize("space", [(), (5, 2)])
@pytest.mark.parametrize("momentum", [0.3, None])
def test_what_processes_do_together_is_on_one_of_them_what_it_does_alone(space, momentum):
    given = values(8, FEATURES, *space, dtype=torch.float64)
    pairs = [
        (lambda: randomised(StepBatchNorm(FEATURES, STEPS, momentum=momentum)).double(), 3),
        (lambda: randomised(SharedBatchNorm(FEATURES, momentum=momentum)).double(), 3),
    ]
    for make, k in pairs:
        alone, together = make(), make()
        expected = alone(given, k)
        found = together._together(given, k) if isinstance(together, StepBatchNorm) else together._together(given)
        torch.testing.assert_close(found, expected)
        for name, buffer in alone.named_buffers():
            torch.testing.assert_close(dict(together.named_buffers())[name], buffer, msg=lambda text, name=name: f"{name}: {text}")


def test_rows_at_several_steps_are_normalised_together_like_each_step_alone():
    k = torch.tensor([1, 3, 3, 1, 4, 3, 4, 1])
    given, alone = values(8, FEATURES, dtype=torch.float64), randomised(StepBatchNorm(FEATURES, STEPS)).double()
    together = randomised(StepBatchNorm(FEATURES, STEPS)).double()
    torch.testing.assert_close(together._together(given, k), alone(given, k))
    for name, buffer in alone.named_buffers():
        torch.testing.assert_close(dict(together.named_buffers())[name], buffer, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("momentum", [0.3, None])
@pytest.mark.parametrize("space", [(), (5, 2)])
def test_steps_side_by_side_are_normalised_and_tracked_like_each_step_alone(space, momentum):
    steps = [4, 1, 3]
    given = values(6 * len(steps), FEATURES, *space, dtype=torch.float64)
    alone, together = (randomised(StepBatchNorm(FEATURES, STEPS, momentum=momentum)).double() for _ in range(2))
    found = together(given, torch.tensor(steps).repeat(6))
    for place, k in enumerate(steps):
        torch.testing.assert_close(found[place :: len(steps)], alone(given[place :: len(steps)], k))
    for name, buffer in alone.named_buffers():
        torch.testing.assert_close(dict(together.named_buffers())[name], buffer, msg=lambda text, name=name: f"{name}: {text}")


def test_running_statistics_of_other_steps_stay():
    norm = randomised(StepBatchNorm(FEATURES, STEPS))
    before = {name: buffer.clone() for name, buffer in norm.named_buffers()}
    norm(values(8, FEATURES), 2)
    for name, buffer in norm.named_buffers():
        changed = (buffer != before[name]).reshape(STEPS, -1).any(1)
        assert changed.tolist() == [False, True, False, False], name


def test_momentum_weighs_the_new_batch_by_the_biased_variance():
    norm = StepBatchNorm(FEATURES, STEPS, momentum=0.3).double()
    given = values(6, FEATURES, 2, 2, dtype=torch.float64)
    norm(given, 1)
    torch.testing.assert_close(norm.running_mean[0], 0.3 * given.mean((0, 2, 3)))
    torch.testing.assert_close(norm.running_var[0], 0.7 + 0.3 * given.var((0, 2, 3), correction=0))


def test_without_momentum_the_statistics_are_the_average_since_the_reset():
    norm = randomised(StepBatchNorm(FEATURES, STEPS, momentum=None)).double()
    norm.reset_running_stats()
    assert (norm.running_mean == 0).all()
    assert (norm.running_var == 1).all()
    batches = [values(7, FEATURES, seed=seed, dtype=torch.float64) for seed in range(3)]
    for batch in batches:
        norm(batch, 3)
    torch.testing.assert_close(norm.running_mean[2], torch.stack([batch.mean(0) for batch in batches]).mean(0))
    torch.testing.assert_close(norm.running_var[2], torch.stack([batch.var(0, correction=0) for batch in batches]).mean(0))
    assert norm.num_batches_tracked.tolist() == [0, 0, 3, 0]


@pytest.mark.parametrize("space", [(), (3, 3)])
def test_one_index_per_row_gives_in_evaluation_what_each_step_gives_alone(space):
    norm = randomised(StepBatchNorm(FEATURES, STEPS)).eval()
    given, k = values(9, FEATURES, *space), torch.tensor([3, 1, 4, 1, 2, 2, 4, 1, 3])
    alone = torch.cat([norm(given[i : i + 1], int(step)) for i, step in enumerate(k)])
    torch.testing.assert_close(norm(given, k), alone)


def test_one_index_per_row_gives_in_training_what_each_step_gives_on_its_rows():
    norm, twin = randomised(StepBatchNorm(FEATURES, STEPS)), randomised(StepBatchNorm(FEATURES, STEPS))
    given, k = values(9, FEATURES), torch.tensor([3, 1, 4, 1, 3, 3, 4, 1, 3])
    together = norm(given, k)
    for step in (1, 3, 4):
        torch.testing.assert_close(together[k == step], twin(given[k == step], step))
    for name, buffer in norm.named_buffers():
        torch.testing.assert_close(buffer, dict(twin.named_buffers())[name])


def test_one_example_at_a_step_is_refused_while_training():
    with pytest.raises(RecipeError, match="one example in the batch"):
        SharedBatchNorm(3)(torch.zeros(1, 3))
    with pytest.raises(RecipeError, match="one example at step 2"):
        StepBatchNorm(FEATURES, STEPS)(values(1, FEATURES), 2)


@pytest.mark.parametrize("k", [0, STEPS + 1])
def test_a_step_outside_the_chain_is_refused(k):
    with pytest.raises(IndexError, match=f"step {k}"):
        StepBatchNorm(FEATURES, STEPS)(values(4, FEATURES), k)


def test_frozen_statistics_normalise_by_the_batch_and_change_nothing():
    norm = randomised(StepBatchNorm(FEATURES, STEPS))
    before = {name: tensor.clone() for name, tensor in norm.state_dict().items()}
    with frozen_statistics(norm):
        frozen = norm(values(8, FEATURES), 1)
    torch.testing.assert_close(norm.state_dict(), before)
    torch.testing.assert_close(frozen, norm(values(8, FEATURES), 1))
    assert norm.num_batches_tracked[0] == 1


def test_two_steps_may_be_evaluated_before_one_backward():
    norm = StepBatchNorm(FEATURES, STEPS)
    (norm(values(8, FEATURES), 1).square() + norm(values(8, FEATURES, seed=1), 2).exp()).sum().backward()
    assert norm.weight.grad[:2].abs().min() > 0
    assert not norm.weight.grad[2:].any()


def test_a_layer_shared_by_the_steps_may_be_evaluated_twice_before_one_backward():
    norm = SharedBatchNorm(FEATURES)
    (norm(values(8, FEATURES), 1).square() + norm(values(8, FEATURES, seed=1), 2).exp()).sum().backward()
    assert norm.weight.grad.abs().min() > 0


@pytest.mark.parametrize("k", [2, torch.tensor([1, 1, 2, 2, 2, 2, 3, 3])])
@pytest.mark.parametrize("training", [True, False])
def test_statistics_stay_float32_on_bfloat16_values(k, training):
    norm = StepBatchNorm(FEATURES, STEPS).train(training)
    given = values(8, FEATURES)
    with torch.autocast("cpu", torch.bfloat16):
        normalised = norm(given.bfloat16(), k)
    assert normalised.dtype == torch.bfloat16
    assert norm.running_mean.dtype == norm.running_var.dtype == torch.float32
    torch.testing.assert_close(normalised.float(), StepBatchNorm(FEATURES, STEPS).train(training)(given, k), atol=0.03, rtol=0.03)


class Normal(Prior):
    def forward(self, rows):
        return Gaussian(torch.zeros(rows, 2, dtype=torch.float64), torch.ones(rows, 2, dtype=torch.float64))


class Operator(TransitionOperator):
    """Records what it was shown and what it gave."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.seen = {}

    def forward(self, state, k, condition=None):
        (mean,) = self.network(state, k, condition)
        self.seen[k] = (state, mean.detach())
        return GaussianKernel(mean, torch.full_like(mean, 0.1))


class FromNoise(ForwardProcess):
    """Draws each state from the operator's kernel at the one before."""

    def walk(self, chain, batch, *, source=None, path_gradient=False, with_log_ratio=False):
        state = chain.prior(batch.rows).sample(source)
        for k in range(chain.steps, 0, -1):
            reverse = chain.operator(state, k).at()
            yield Transition(k=k, steps=chain.steps, state=state, previous=None, origin=batch.origin, reverse=reverse)
            state = reverse.sample(source)


def chain_with(norm):
    torch.manual_seed(0)
    network = MLP((2,), hidden=[8, 8], norm=norm, steps=STEPS)
    return Chain(Normal(), Operator(network), STEPS).double()


def test_after_recomputing_on_one_batch_evaluation_gives_what_training_gave_at_every_step():
    chain = chain_with("per-step")
    recompute_statistics(chain, FromNoise(), Batch.of(values(50, 2, dtype=torch.float64)), source=seeded("cpu", 1))
    walked = dict(chain.operator.seen)
    assert sorted(walked) == [1, 2, 3, 4]
    chain.eval()
    for k, (state, mean) in walked.items():
        torch.testing.assert_close(chain.operator(state, k).mean, mean, atol=1e-12, rtol=1e-12)


def test_recomputing_keeps_modes_and_momentum():
    chain = chain_with("per-step").eval()
    recompute_statistics(chain, FromNoise(), Batch.of(values(9, 2, dtype=torch.float64)), source=seeded("cpu", 1))
    norms = [part for part in chain.modules() if isinstance(part, StepBatchNorm)]
    assert [(part.momentum, part.training, part.num_batches_tracked.tolist()) for part in norms] == [(0.1, False, [1] * STEPS)] * 2


def test_recomputing_gives_a_normaliser_shared_by_all_steps_their_average():
    chain = chain_with("shared")
    recompute_statistics(chain, FromNoise(), Batch.of(values(50, 2, dtype=torch.float64)), source=seeded("cpu", 1))
    first = chain.operator.network.first
    assert isinstance(first.norm, SharedBatchNorm)
    inputs = [first.affine(state).mean(0) for state, _ in chain.operator.seen.values()]
    torch.testing.assert_close(first.norm.running_mean, torch.stack(inputs).mean(0))
    assert first.norm.num_batches_tracked == STEPS
