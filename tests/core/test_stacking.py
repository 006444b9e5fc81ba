"""Steps trained together give the losses and gradients of steps trained one at a time; where they cannot, they are not."""

from __future__ import annotations

import attrs
import pytest
import torch
from torch import nn
from torch.nn import functional

from chainkit import Batch, Chain, LocalObjective, Network, stacking
from chainkit.build import Model
from chainkit.interleaving import Interleaved, NotReplayable
from chainkit.kernel import GaussianKernel
from chainkit.operator import TransitionOperator
from chainkit.random import seeded
from chainkit.replay import Record, Recorder
from chainkit.stacking import Stacked, why_not_stacked
from chainkit_infusion import Denoising, IncreasingRate, InfusionGaussian, InfusionProcess
from chainkit_networks import MLP, EncoderDecoder
from chainkit_priors import GaussianPrior
from chainkit_walkback import Geometric, HeatedProcess, Walkback, WalkbackGaussian

ROWS, STEPS = 6, 5


def batch(shape, rows=ROWS):
    return Batch.of(torch.rand(rows, *shape, generator=seeded("cpu", 1)).double(), torch.arange(rows) % 3)


def infusion(network, shape):
    prior = GaussianPrior(torch.full(shape, 0.5), torch.full(shape, 0.1))
    process = InfusionProcess(IncreasingRate(0.1, 0.1))
    return Model(Chain(prior, InfusionGaussian(network), STEPS), process, Denoising()).double()


def walkback(network, shape):
    prior = GaussianPrior(torch.zeros(shape), torch.ones(shape))
    chain = Chain(prior, WalkbackGaussian(network, sigma0=0.1), STEPS, temperature=Geometric(1.0, 2.0))
    return Model(chain, HeatedProcess(), Walkback()).double()


def gradients(model):
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


def descended(model, losses):
    """The sum of a stream of losses, its gradients, and the buffers that it leaves."""
    model.zero_grad()
    total = 0.0
    for loss in losses:
        loss.value.backward()
        total += float(loss.value.detach())
    return total, gradients(model), {name: buffer.clone() for name, buffer in model.named_buffers()}


def both_ways(model, examples):
    """Training step by step and together, from the same state with the same draws."""
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    one = descended(model, model.objective.losses(model.chain, model.process, examples, source=seeded("cpu", 2)))
    model.load_state_dict(before)
    return one, descended(model, Stacked(model).losses(examples, seeded("cpu", 2)))


NETWORKS = {
    "mlp": lambda: (MLP((7,), heads=2, hidden=[8, 9]), (7,)),
    "normalised per step": lambda: (MLP((7,), heads=2, hidden=[8, 9], norm="per-step", steps=STEPS), (7,)),
    "told the step": lambda: (MLP((7,), heads=2, hidden=[8], step="embedding", steps=STEPS), (7,)),
    "conditional": lambda: (MLP((7,), heads=2, hidden=[8], step="scalar", steps=STEPS, classes=3), (7,)),
    "convolutions": lambda: (
        EncoderDecoder((2, 9, 8), heads=2, channels=[3, 4], hidden=[5], norm="per-step", steps=STEPS),
        (2, 9, 8),
    ),
}


@pytest.mark.parametrize("chunk", [1, 2**9, 2**24], ids=["a step at a time", "a few steps", "all steps"])
@pytest.mark.parametrize("method", [infusion, walkback], ids=["infusion", "walkback"])
@pytest.mark.parametrize("network", NETWORKS)
def test_losses_gradients_and_statistics_are_those_of_single_steps(network, method, chunk, monkeypatch):
    monkeypatch.setattr(stacking, "CHUNK_BYTES", chunk)
    torch.manual_seed(0)
    net, shape = NETWORKS[network]()
    model = method(net, shape).train()
    (loss, slopes, left), (other, together, kept) = both_ways(model, batch(shape))
    assert other == pytest.approx(loss, rel=1e-12)
    assert slopes.keys() == together.keys()
    for name in slopes:
        torch.testing.assert_close(together[name], slopes[name], rtol=1e-9, atol=1e-11, msg=lambda text, name=name: f"{name}: {text}")
    for name in left:
        torch.testing.assert_close(kept[name], left[name], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("method", [infusion, walkback], ids=["infusion", "walkback"])
@pytest.mark.parametrize("network", NETWORKS)
def test_shipped_networks_are_found_fit_and_left_unchanged(network, method):
    torch.manual_seed(0)
    net, shape = NETWORKS[network]()
    model = method(net, shape).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert why_not_stacked(model, batch(shape), seeded("cpu", 3)) is None
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not gradients(model)


def test_the_weight_of_a_step_is_kept():
    """A process of a stranger, whose steps weigh differently."""

    class Weighing(InfusionProcess):
        def walk(self, chain, examples, **settings):
            for transition in super().walk(chain, examples, **settings):
                yield attrs.evolve(transition, weight=1.0 + transition.k)

    torch.manual_seed(0)
    model = infusion(MLP((7,), heads=2, hidden=[8]), (7,))
    model.process = Weighing(IncreasingRate(0.1, 0.1))
    (loss, slopes, _), (other, together, _) = both_ways(model, batch((7,)))
    assert other == pytest.approx(loss, rel=1e-12)
    for name in slopes:
        torch.testing.assert_close(together[name], slopes[name], rtol=1e-9, atol=1e-11)


class Odd(Network):
    """A network of a stranger: two layers, and something between them."""

    def __init__(self, between) -> None:
        super().__init__()
        self.first, self.between, self.last = nn.Linear(7, 8), between, nn.Linear(8, 14)

    def forward(self, state, k, condition=None):
        return self.last(self.between(self.first(state))).view(len(state), 2, 7).unbind(1)

    def bias_heads(self, biases):
        raise NotImplementedError


class Centred(nn.Module):
    def forward(self, values):
        return values - values.mean(0)


class FunctionalDropout(nn.Module):
    def forward(self, values):
        return functional.dropout(values, 0.5, training=self.training)


class Product(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.eye(8))

    def forward(self, values):
        return values @ self.matrix


class Unstackable(Odd):
    def forward(self, state, k, condition=None):
        if isinstance(k, torch.Tensor):
            raise TypeError("one step at a time, please")
        return super().forward(state, k, condition)


class Branching(Odd):
    """The last step goes through the middle layer twice."""

    def forward(self, state, k, condition=None):
        hidden = self.between(self.first(state))
        if isinstance(k, int) and k == STEPS:
            hidden = self.between(hidden)
        return self.last(hidden).view(len(state), 2, 7).unbind(1)


STRANGE = {
    "dropout": (lambda: Odd(nn.Dropout(0.5)), "random"),
    "dropout that no module shows": (lambda: Odd(FunctionalDropout()), "random"),
    "batch normalisation of all steps": (lambda: Odd(nn.BatchNorm1d(8)), "depends on what else"),
    "statistics of the batch that no module shows": (lambda: Odd(Centred()), "depends on what else"),
    "a product of its own": (lambda: Odd(Product()), "Product.matrix"),
    "in place": (lambda: Odd(nn.ReLU(inplace=True)), "in place"),
    "no tensor of steps": (lambda: Unstackable(nn.Tanh()), "one step at a time, please"),
    "other layers at other steps": (lambda: Branching(nn.Linear(8, 8)), "same layers"),
}


@pytest.mark.parametrize("case", STRANGE)
def test_a_network_that_cannot_be_evaluated_together_is_found_out(case):
    make, reason = STRANGE[case]
    torch.manual_seed(0)
    model = infusion(make(), (7,)).train()
    found = why_not_stacked(model, batch((7,), 32), seeded("cpu", 3))
    assert found is not None
    assert reason in found


def test_a_network_that_differs_only_in_a_later_chunk_is_found_out(monkeypatch):
    """Branching goes its own way at k = K, the first step of the walk away from noise and the last one away from data."""
    monkeypatch.setattr(stacking, "CHUNK_BYTES", 5000)
    torch.manual_seed(0)
    model = walkback(Branching(nn.Linear(8, 8)), (7,)).train()
    examples = batch((7,), 8)
    first = Stacked(model)
    chunks = first.chunks(first.walk(examples, seeded("cpu", 3)))
    for steps in ([1], [2, 3]):
        chunk = next(chunks)
        assert chunk.steps == steps
        first.together(chunk, examples)
    assert "same layers" in why_not_stacked(model, examples, seeded("cpu", 3))


class EnergyGradient(TransitionOperator):
    """p(s_{k-1} | s_k) = N(s_k - dE/ds_k / 10, 1 / 10): its network is differentiated within every evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.energy = nn.Sequential(nn.Linear(7, 8), nn.Tanh(), nn.Linear(8, 1))

    def forward(self, state, k, condition=None):
        training = torch.is_grad_enabled()
        with torch.enable_grad():
            at = state.detach().requires_grad_()
            (slope,) = torch.autograd.grad(self.energy(at).sum(), at, create_graph=training)
        return GaussianKernel(state - 0.1 * slope, torch.tensor(0.1).double())


def energies():
    prior = GaussianPrior(torch.zeros(7), torch.ones(7))
    return Model(Chain(prior, EnergyGradient(), STEPS), HeatedProcess(), Walkback()).double()


def test_an_operator_that_differentiates_itself_is_found_out():
    torch.manual_seed(0)
    assert why_not_stacked(energies(), batch((7,)), seeded("cpu", 3)) == "the operator takes a gradient of its Linear itself"


def test_an_operator_that_differentiates_itself_is_trained_one_step_at_a_time(make_trainer, points):
    torch.manual_seed(0)
    trainer = make_trainer(energies(), points(32, 7, torch.float64), epochs=1, batch_size=16)
    assert len(list(trainer.epoch_updates())) == 2
    assert "takes a gradient" in trainer.one_by_one


class Counting(nn.Module):
    """Counts its evaluations: written in place, or by a new tensor."""

    def __init__(self, in_place: bool) -> None:
        super().__init__()
        self.in_place = in_place
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, values):
        self.seen = self.seen.add_(1) if self.in_place else self.seen + 1
        return values


@pytest.mark.parametrize("in_place", [True, False])
def test_buffers_that_every_evaluation_changes_are_found_out_and_put_back(in_place):
    torch.manual_seed(0)
    model = infusion(Odd(Counting(in_place)), (7,)).train()
    before = dict(model.named_buffers())
    why = why_not_stacked(model, batch((7,)), seeded("cpu", 3))
    assert why == "chain.operator.network.between.seen changes with every evaluation"
    assert float(model.chain.operator.network.between.seen) == 0
    assert all(buffer is before[name] for name, buffer in model.named_buffers())


def test_chunks_are_bounded_by_their_states_too(monkeypatch):
    """A network without any layer that is known leaves nothing but states."""

    class Scaled(Network):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(7))

        def forward(self, state, k, condition=None):
            return self.scale * state, self.scale + 0 * state

        def bias_heads(self, biases):
            raise NotImplementedError

    monkeypatch.setattr(stacking, "CHUNK_BYTES", 2 * ROWS * 7 * 8)
    model = walkback(Scaled(), (7,))
    (loss, slopes, _), (other, together, _) = both_ways(model, batch((7,)))
    assert other == pytest.approx(loss, rel=1e-12)
    torch.testing.assert_close(together, slopes, rtol=1e-9, atol=1e-11)
    stacked = Stacked(model)
    chunks = stacked.chunks(stacked.walk(batch((7,)), seeded("cpu", 3)))
    assert max(len(chunk.steps) for chunk in chunks) == 2


def test_a_process_may_name_the_arguments_of_the_operator():
    class Naming(InfusionProcess):
        def walk(self, chain, examples, **settings):
            class Named(nn.Module):
                def forward(self, state, k, condition):
                    return chain.operator(state, k=k, condition=condition)

            named = Chain(chain.prior, chain.operator, STEPS)
            named.operator = Named()
            yield from super().walk(named, examples, **settings)

    torch.manual_seed(0)
    model = infusion(MLP((7,), heads=2, hidden=[8]), (7,))
    model.process = Naming(IncreasingRate(0.1, 0.1))
    assert why_not_stacked(model, batch((7,)), seeded("cpu", 3)) is None


def test_losses_are_not_rounded_under_autocast():
    torch.manual_seed(0)
    model = infusion(MLP((7,), heads=2, hidden=[8]), (7,)).float()
    examples = batch((7,))
    examples = attrs.evolve(examples, origin=examples.origin.float())
    with torch.autocast("cpu", torch.bfloat16):
        [loss] = Stacked(model).losses(examples, seeded("cpu", 2))
        whole = sum(loss.value for loss in model.objective.losses(model.chain, model.process, examples, source=seeded("cpu", 2)))
    assert loss.value.dtype == torch.float32
    torch.testing.assert_close(loss.value, whole, rtol=1e-5, atol=1e-5)


def test_an_objective_of_whole_walks_is_left_alone():
    model = walkback(MLP((7,), heads=2, hidden=[8]), (7,))
    model.objective = Unlocal()
    assert why_not_stacked(model, batch((7,)), seeded("cpu", 3)) == "Unlocal is no function of one transition"


class Unlocal(LocalObjective):
    """Local by type, with a stream of losses of its own."""

    def loss(self, transition):
        return -transition.reverse.log_prob(transition.previous)

    def losses(self, chain, process, batch, *, source=None):
        yield from super().losses(chain, process, batch, source=source)


def test_layers_are_themselves_again_after_an_error():
    network = Unstackable(nn.Tanh())
    model = infusion(network, (7,))
    recorder = Recorder(model.chain.operator)
    with pytest.raises(RuntimeError, match="in between"), recorder.recording():
        raise RuntimeError("in between")
    assert "forward" not in vars(model.chain.operator)
    assert all("forward" not in vars(module) for module in network.modules())


def record_of(evaluations):
    record = Record(len(evaluations))
    for evaluation in evaluations:
        record.add(evaluation)
    return record


def test_a_weight_in_the_type_of_the_outputs_is_that_of_the_update():
    """In bfloat16 it is made once an update; the weights of the next update are others."""
    net = MLP((7,), heads=2, hidden=[8])
    recorder = Recorder(net)
    states = torch.rand(3, 7)

    def gradient():
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad(), recorder.recording() as evaluations:
                net(states, 1)
            with recorder.replaying(record_of(evaluations)):
                loss = sum(head.float().sum() for head in net(states, 1))
        return torch.autograd.grad(loss, net.first.affine.weight)[0]

    with recorder.unchanged():
        before = gradient()
        torch.testing.assert_close(gradient(), before, rtol=0, atol=0)
    with torch.no_grad():
        net.readout.linear.weight.mul_(-2)
    with recorder.unchanged():
        torch.testing.assert_close(gradient(), -2 * before)


def test_what_was_recorded_at_other_states_is_refused():
    torch.manual_seed(0)
    net = MLP((7,), heads=2, hidden=[8]).double()
    recorder = Recorder(net, comparing=True)
    with torch.no_grad(), recorder.recording() as evaluations:
        for _ in range(2):
            net(torch.rand(3, 7).double(), 1)
    with pytest.raises(NotReplayable, match="depends on what else"), recorder.replaying(record_of(evaluations)):
        net(torch.rand(6, 7).double(), 1)


def test_numbers_that_differ_from_walk_to_walk_fill_no_memory_of_a_device():
    """Such as the weights of a stranger's steps."""
    stacked, like = Stacked(infusion(MLP((7,), heads=2, hidden=[8]), (7,))), torch.empty(1, device="meta")
    kept = stacked._constant([1.0, 2.0], like)
    assert stacked._constant([1.0, 2.0], like) is kept
    for number in range(20 * STEPS):
        stacked._constant([1.0, number], like)
    assert len(stacked._constants) <= 4 * STEPS + 1


def test_layers_see_their_own_weights_again_after_a_walk_in_bfloat16():
    net = MLP((7,), heads=2, hidden=[8])
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad(), Recorder(net).recording():
        assert net.first.affine.weight.dtype == torch.bfloat16
    assert net.first.affine.weight is dict(net.named_parameters())["first.affine.weight"]


@pytest.mark.parametrize("most", [3, 5], ids=["full", "not full"])
def test_states_of_several_tensors_are_brought_together_by_example(most):
    torch.manual_seed(0)
    steps = [(torch.rand(4, 2), (torch.rand(4, 3, 2), torch.rand(4).bfloat16())) for _ in range(3)]
    interleaved = Interleaved(most)
    for state in steps:
        interleaved.add(state)
    (a, (b, c)) = interleaved.together()
    assert torch.equal(a, torch.stack([state[0] for state in steps], 1).view(12, 2))
    assert torch.equal(b, torch.stack([state[1][0] for state in steps], 1).view(12, 3, 2))
    assert torch.equal(c, torch.stack([state[1][1] for state in steps], 1).view(12))


def test_states_of_another_shape_cannot_be_brought_together():
    interleaved = Interleaved(2)
    interleaved.add((torch.rand(4, 3), torch.rand(4)))
    with pytest.raises(NotReplayable, match="differ in shape"):
        interleaved.add((torch.rand(4, 2), torch.rand(4)))


def test_what_was_brought_together_is_a_copy():
    """A process may go on working on a state in place."""
    state, interleaved = torch.zeros(2, 1), Interleaved(2)
    for _ in range(2):
        interleaved.add(state)
        state.add_(1)
    assert interleaved.together().flatten().tolist() == [0, 1, 0, 1]
