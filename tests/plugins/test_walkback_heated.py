"""The walk away from data: what it evaluates, draws, keeps and leaves untouched."""

import weakref

import pytest
import torch
from torch import nn

from chainkit import Batch, Chain, Kernel, Network, Prior, Reparametrised
from chainkit.distributions import Bernoulli, Gaussian, Wrapped
from chainkit.kernel import UntemperedKernel
from chainkit.objective import Loss
from chainkit.operator import TransitionOperator
from chainkit.random import seeded
from chainkit.transition import total_log_ratio
from chainkit_walkback import Geometric, HeatedProcess, Walkback, WalkbackBernoulli, WalkbackGaussian

DIM = 3


class Layers(Network):
    """One hidden layer; normalised by the batch if asked for."""

    def __init__(self, heads, *, normalised=False):
        super().__init__()
        self.heads = heads
        norm = [nn.BatchNorm1d(8, momentum=None)] if normalised else []
        self.layers = nn.Sequential(nn.Linear(DIM, 8), *norm, nn.Tanh(), nn.Linear(8, heads * DIM))

    def forward(self, state, k, condition=None):
        return self.layers(state).chunk(self.heads, 1)

    def bias_heads(self, biases):
        raise NotImplementedError


class Noise(Prior):
    def __init__(self, binary):
        super().__init__()
        self.binary = binary

    def forward(self, rows):
        zero = torch.zeros(rows, DIM)
        return Bernoulli(zero) if self.binary else Gaussian(zero, torch.ones(rows, DIM))


class Recorded(TransitionOperator):
    """Passes on another operator's kernels and writes down every call and every temperature."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.indices, self.temperatures = inner, [], []

    def forward(self, state, k, condition=None):
        self.indices.append(k)
        self.temperatures.append([])
        return RecordedKernel(self.inner(state, k, condition), self.temperatures[-1])


class RecordedKernel(Kernel):
    def __init__(self, inner, seen):
        self.inner, self.seen = inner, seen

    def at(self, temperature=1.0):
        self.seen.append(temperature)
        return self.inner.at(temperature)


def chain_of(binary, steps=3, *, normalised=False, extend="refuse"):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        operator = WalkbackBernoulli(Layers(1, normalised=normalised)) if binary else WalkbackGaussian(Layers(2, normalised=normalised))
    return Chain(Noise(binary), Recorded(operator), steps, temperature=Geometric(1.0, 2.0), extend=extend)


def batch_of(binary, rows=5):
    values = torch.rand(rows, DIM, generator=seeded("cpu", 1))
    return Batch.of(values.round() if binary else values)


def walk_of(chain, batch, seed=0, **wanted):
    return list(HeatedProcess().walk(chain, batch, source=seeded("cpu", seed), **wanted))


both = pytest.mark.parametrize("binary", [True, False], ids=["bernoulli", "gaussian"])
asked = pytest.mark.parametrize("wanted", [{}, {"with_log_ratio": True}, {"with_log_ratio": True, "path_gradient": True}])


@both
@asked
def test_a_walk_evaluates_the_network_once_per_state_with_index_at_least_one(binary, wanted):
    chain = chain_of(binary, steps=4)
    walk_of(chain, batch_of(binary), **wanted)
    assert chain.operator.indices == [1, 1, 2, 3, 4]


def test_each_kernel_goes_back_at_its_own_temperature_and_away_at_the_next():
    chain = chain_of(True)
    walk_of(chain, batch_of(True))
    assert chain.operator.temperatures == [[1.0], [1.0, 2.0], [2.0, 4.0], [4.0]]


def test_sampling_with_more_steps_goes_down_the_hotter_schedule():
    chain = chain_of(True, extend="noise-end")
    chain.sample(2, steps=5, source=seeded("cpu", 0))
    assert chain.operator.temperatures == [[16.0], [8.0], [4.0], [2.0], [1.0]]
    assert chain.operator.indices == [3, 3, 3, 2, 1]


@both
def test_transitions_link_from_the_data_to_the_noise(binary):
    chain, batch = chain_of(binary), batch_of(binary)
    walk = walk_of(chain, batch)
    assert [transition.k for transition in walk] == [1, 2, 3]
    assert walk[0].previous is batch.origin
    assert walk[1].previous is walk[0].state
    assert walk[2].previous is walk[1].state
    assert all(transition.origin is batch.origin and transition.steps == 3 for transition in walk)
    assert all(transition.log_ratio is None and transition.log_forward is None for transition in walk)


@both
def test_without_path_gradient_only_the_way_back_has_a_graph(binary):
    for transition in walk_of(chain_of(binary), batch_of(binary), with_log_ratio=True):
        assert not transition.state.requires_grad
        assert not transition.log_forward.requires_grad
        assert not transition.pathwise
        assert transition.log_ratio.requires_grad


@both
def test_each_step_can_be_differentiated_before_the_next_with_its_log_ratio(binary):
    chain = chain_of(binary)
    for transition in HeatedProcess().walk(chain, batch_of(binary), source=seeded("cpu", 0), with_log_ratio=True):
        transition.log_ratio.mean().backward()
    assert all(parameter.grad is not None for parameter in chain.parameters())


def test_path_gradient_reparametrises_where_kernels_are_and_only_there():
    gaussian = walk_of(chain_of(False), batch_of(False), path_gradient=True)
    assert all(isinstance(t.reverse, Reparametrised) and t.pathwise and t.state.requires_grad for t in gaussian)
    bernoulli = walk_of(chain_of(True), batch_of(True), path_gradient=True, with_log_ratio=True)
    assert not any(t.pathwise or t.state.requires_grad for t in bernoulli)
    assert all(t.log_forward.requires_grad for t in bernoulli)


@both
def test_a_walk_without_gradients_builds_no_graph(binary):
    with torch.no_grad():
        walk = walk_of(chain_of(binary), batch_of(binary), path_gradient=True, with_log_ratio=True)
    assert not any(transition.log_ratio.requires_grad for transition in walk)


@both
def test_the_same_states_are_drawn_whatever_is_asked_for(binary):
    plain = walk_of(chain_of(binary), batch_of(binary))
    full = walk_of(chain_of(binary), batch_of(binary), path_gradient=True, with_log_ratio=True)
    for a, b in zip(plain, full, strict=True):
        torch.testing.assert_close(a.state, b.state.detach())


def test_draws_come_from_the_source_alone():
    before = torch.get_rng_state()
    first, again, other = (walk_of(chain_of(True, steps=8), batch_of(True, rows=20), seed)[-1].state for seed in (3, 3, 4))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@both
def test_the_next_state_is_drawn_before_the_consumer_can_change_the_operator(binary):
    untouched = walk_of(chain_of(binary), batch_of(binary), with_log_ratio=True)
    chain = chain_of(binary)
    walk = HeatedProcess().walk(chain, batch_of(binary), source=seeded("cpu", 0), with_log_ratio=True)
    next(walk)
    with torch.no_grad():
        for parameter in chain.parameters():
            parameter.add_(1.0)
    second = next(walk)
    assert torch.equal(second.state, untouched[1].state)
    assert torch.equal(second.log_forward, untouched[1].log_forward)
    assert not torch.allclose(second.reverse.mean, untouched[1].reverse.mean)


@both
def test_running_statistics_are_those_of_the_states_without_the_origin(binary):
    chain = chain_of(binary, steps=3, normalised=True)
    layers = chain.operator.inner.network.layers
    walk = walk_of(chain, batch_of(binary))
    assert int(layers[1].num_batches_tracked) == 3
    means = torch.stack([layers[0](transition.state).mean(0) for transition in walk])
    torch.testing.assert_close(layers[1].running_mean, means.mean(0).detach())
    assert layers[1].track_running_stats


class Kept:
    """What autograd saved of one tensor, alive as long as its graph."""

    def __init__(self, tensor):
        self.tensor = tensor


def most_tensors_alive(steps):
    """The most tensors that graphs hold at any time while the local objective trains on one batch."""
    alive, peak = weakref.WeakSet(), 0

    def pack(tensor):
        nonlocal peak
        kept = Kept(tensor)
        alive.add(kept)
        peak = max(peak, len(alive))
        return kept

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept.tensor):
        loss: Loss
        for loss in Walkback().losses(chain_of(False, steps), HeatedProcess(), batch_of(False), source=seeded("cpu", 0)):
            loss.value.backward()
    return peak


def test_memory_of_the_local_objective_does_not_grow_with_the_chain():
    assert most_tensors_alive(2) == most_tensors_alive(40) > 0


def test_log_w_of_kernels_without_density_or_target_is_refused():
    class Opaque(TransitionOperator):
        def forward(self, state, k, condition=None):
            return UntemperedKernel(Drawn())

    class Drawn(Reparametrised):
        def sample(self, source=None):
            return torch.zeros(5, DIM)

        rsample = sample

    chain = Chain(Noise(False), Opaque(), 2)
    assert len(walk_of(chain, batch_of(False))) == 2
    with pytest.raises(TypeError, match="Density"):
        walk_of(chain, batch_of(False), with_log_ratio=True)


def test_kernels_with_a_density_but_no_temperature_walk_at_temperature_one():
    class Wide(TransitionOperator):
        def forward(self, state, k, condition=None):
            return UntemperedKernel(Wrapped(torch.distributions.Laplace(state, torch.ones_like(state))))

    walk = walk_of(Chain(Noise(False), Wide(), 2), batch_of(False), with_log_ratio=True)
    prior = Gaussian(torch.zeros(5, DIM), torch.ones(5, DIM)).log_prob(walk[-1].state)
    torch.testing.assert_close(total_log_ratio(walk), prior.double())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_walk_runs_on_cuda_under_autocast():
    class CudaNoise(Noise):
        def forward(self, rows):
            return Gaussian(torch.zeros(rows, DIM, device="cuda"), torch.ones(rows, DIM, device="cuda"))

    chain = Chain(CudaNoise(False), WalkbackGaussian(Layers(2)), 3, temperature=Geometric()).cuda()
    batch = Batch.of(batch_of(False).origin.cuda())
    with torch.autocast("cuda", torch.bfloat16):
        walk = list(HeatedProcess().walk(chain, batch, source=seeded("cuda", 0), with_log_ratio=True))
    assert all(transition.log_ratio.dtype == torch.float32 for transition in walk)
