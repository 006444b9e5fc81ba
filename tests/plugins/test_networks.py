"""What all networks promise, and the exact form of each."""

from __future__ import annotations

import attrs
import pytest
import torch
from torch.nn import functional

from chainkit_networks import MLP, EncoderDecoder, Generator, RadialBasis, StepLinear
from chainkit_networks.activations import ACTIVATIONS
from chainkit_networks.conditioning import Conditioning, waves

STEPS, ROWS = 5, 6

NETWORKS = {
    "mlp": lambda **more: MLP((2, 3), hidden=[7, 5], heads=2, steps=STEPS, **more),
    "mlp-per-step": lambda **more: MLP((2, 3), hidden=[7, 5], heads=2, steps=STEPS, norm="per-step", readout="per-step", **more),
    "mlp-knots": lambda **more: MLP((2, 3), hidden=[7], heads=2, steps=STEPS, readout="per-step", knots=3, **more),
    "mlp-shared": lambda **more: MLP((2, 3), hidden=[7], heads=2, steps=STEPS, norm="shared", activation="silu", **more),
    "rbf": lambda **more: RadialBasis((4,), heads=2, steps=STEPS, **more),
    "rbf-shared": lambda **more: RadialBasis((4,), heads=2, steps=STEPS, readout="shared", **more),
    "conv": lambda **more: EncoderDecoder((3, 8, 8), heads=2, channels=[4, 6], hidden=[5], steps=STEPS, **more),
    "conv-per-step": lambda **more: EncoderDecoder(
        (1, 7, 10), heads=2, channels=[4, 6], hidden=[], steps=STEPS, norm="per-step", decoders="separate", **more
    ),
    "generator": lambda **more: Generator((3, 8, 8), heads=2, channels=[6, 4], steps=STEPS, **more),
    "generator-separate": lambda **more: Generator(
        (2, 9, 5), heads=2, channels=[6, 4], steps=STEPS, norm="none", decoders="separate", **more
    ),
}

SHAPES = {
    "mlp": (2, 3),
    "mlp-per-step": (2, 3),
    "mlp-knots": (2, 3),
    "mlp-shared": (2, 3),
    "rbf": (4,),
    "rbf-shared": (4,),
    "conv": (3, 8, 8),
    "conv-per-step": (1, 7, 10),
    "generator": (3, 8, 8),
    "generator-separate": (2, 9, 5),
}

every_network = pytest.mark.parametrize("name", NETWORKS)
every_step = pytest.mark.parametrize("step", ["none", "embedding", "scalar"])


@attrs.frozen
class Case:
    network: torch.nn.Module
    state: torch.Tensor


def case(name, *, dtype=torch.float64, **more) -> Case:
    torch.manual_seed(3)
    network = NETWORKS[name](**more).to(dtype)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        for key, buffer in network.named_buffers():
            if key.endswith("running_mean"):
                buffer.normal_()
    return Case(network, torch.randn(ROWS, *SHAPES[name], dtype=dtype))


def gradients(network, heads):
    return torch.autograd.grad(sum((head.square().sum() for head in heads), torch.zeros(())), list(network.parameters()), allow_unused=True)


@every_network
@every_step
def test_heads_have_the_shape_of_the_state(name, step):
    given = case(name, step=step)
    heads = given.network(given.state, 2)
    assert [head.shape for head in heads] == [given.state.shape] * 2
    assert all(head.dtype == torch.float64 for head in heads)


@every_network
@every_step
def test_an_int_and_one_index_per_row_agree_and_so_do_their_gradients(name, step):
    given = case(name, step=step)
    given.network.eval()
    alike, expected = given.network(given.state, torch.full((ROWS,), 3)), given.network(given.state, 3)
    torch.testing.assert_close(alike, expected)
    for left, right in zip(gradients(given.network, alike), gradients(given.network, expected), strict=True):
        torch.testing.assert_close(left, right)


@every_network
@every_step
def test_rows_at_different_steps_are_evaluated_as_if_alone(name, step):
    given, k = case(name, step=step), torch.tensor([5, 1, 3, 3, 2, 1])
    given.network.eval()
    together = given.network(given.state, k)
    for row, at in enumerate(k.tolist()):
        for head, alone in zip(together, given.network(given.state[row : row + 1], at), strict=True):
            torch.testing.assert_close(head[row : row + 1], alone)


@pytest.mark.parametrize("name", ["mlp-per-step", "conv-per-step", "generator"])
def test_training_with_an_int_and_one_index_per_row_agree(name):
    given = case(name)
    torch.testing.assert_close(given.network(given.state, torch.full((ROWS,), 3)), given.network(given.state, 3))


@every_network
def test_every_parameter_gets_a_gradient(name):
    given = case(name, step="embedding", classes=4)
    heads = given.network(given.state, torch.tensor([1, 1, 2, 2, 3, 3]), torch.arange(ROWS) % 4)
    for (parameter, _), gradient in zip(given.network.named_parameters(), gradients(given.network, heads), strict=True):
        assert gradient is not None, parameter
        assert gradient.isfinite().all(), parameter
        assert gradient.any(), parameter


@every_network
def test_the_same_network_at_different_steps_differs_where_it_is_told_the_step(name):
    given = case(name, step="embedding")
    given.network.eval()
    assert not torch.allclose(given.network(given.state, 1)[0], given.network(given.state, 2)[0])


@pytest.mark.parametrize("name", ["mlp", "mlp-shared", "rbf-shared", "conv", "generator-separate"])
def test_a_network_that_is_not_told_the_step_is_the_same_at_all(name):
    given = case(name)
    given.network.eval()
    torch.testing.assert_close(given.network(given.state, 1), given.network(given.state, STEPS))


@every_network
def test_labels_change_their_own_row_only(name):
    given, labels = case(name, classes=3), torch.zeros(ROWS, dtype=torch.long)
    given.network.eval()
    before = given.network(given.state, 2, labels)[0]
    labels[1] = 2
    changed = (given.network(given.state, 2, labels)[0] - before).flatten(1).abs().amax(1) > 1e-9
    assert changed.tolist() == [False, True, False, False, False, False]


@every_network
def test_missing_labels_are_refused(name):
    given = case(name, classes=3)
    with pytest.raises(ValueError, match="3 classes, but no labels"):
        given.network(given.state, 2)


@every_network
def test_initial_heads_are_small_beside_their_inputs(name):
    torch.manual_seed(0)
    network = NETWORKS[name]()
    heads = network(torch.randn(64, *SHAPES[name]), 1)
    assert all(0 < head.std() < 0.5 for head in heads)


@pytest.mark.parametrize("name", ["mlp", "mlp-per-step", "mlp-knots", "rbf", "rbf-shared"])
def test_biases_of_heads_are_set_per_element(name):
    given = case(name)
    target = torch.randn(SHAPES[name], dtype=torch.float64)
    with torch.no_grad():
        given.network.readout.linear.weight.zero_()
    kept = given.network(given.state, 4)[0]
    given.network.bias_heads([None, target])
    for k in (1, STEPS):
        torch.testing.assert_close(given.network(given.state, k)[1], target.expand(ROWS, *target.shape))
    torch.testing.assert_close(given.network(given.state, 4)[0], kept)


@pytest.mark.parametrize("name", ["conv", "conv-per-step", "generator", "generator-separate"])
def test_biases_of_image_heads_are_set_to_the_mean_of_each_channel(name):
    given = case(name)
    target = torch.randn(SHAPES[name], dtype=torch.float64)
    with torch.no_grad():
        for part in given.network.decoder.parts:
            part.last.weight.zero_()
    kept = given.network(given.state, 1)[0]
    given.network.bias_heads([None, target])
    torch.testing.assert_close(given.network(given.state, 1)[1], target.mean((1, 2), keepdim=True).expand(ROWS, *target.shape))
    torch.testing.assert_close(given.network(given.state, 1)[0], kept)


@every_network
def test_state_dict_round_trip(name):
    given, twin = case(name, step="embedding"), NETWORKS[name](step="embedding").double()
    given.network(given.state, 2)
    twin.load_state_dict(given.network.state_dict())
    torch.testing.assert_close(twin.eval()(given.state, 3), given.network.eval()(given.state, 3))


@every_network
def test_bfloat16_autocast_stays_near_float32(name):
    given = case(name, dtype=torch.float32, step="embedding")
    given.network.eval()
    expected = [head.detach() for head in given.network(given.state, 2)]
    with torch.autocast("cpu", torch.bfloat16):
        heads = given.network(given.state, 2)
    for head, exact in zip(heads, expected, strict=True):
        torch.testing.assert_close(head.float(), exact, atol=0.05 * float(exact.abs().max()), rtol=0.05)


@pytest.mark.parametrize("size", [(28, 28), (32, 32), (64, 64), (8, 8), (7, 30), (1, 1)])
@pytest.mark.parametrize("network", [EncoderDecoder, Generator])
def test_images_of_any_size_come_back_in_their_size(network, size):
    narrow = {"channels": [2, 2, 2], "norm": "none"} | ({"hidden": [4]} if network is EncoderDecoder else {})
    heads = network((1, *size), heads=2, **narrow)(torch.randn(2, 1, *size), 1)
    assert [head.shape for head in heads] == [(2, 1, *size)] * 2


def test_default_sizes_are_those_of_the_papers():
    conv, cifar = EncoderDecoder((3, 64, 64), heads=2), Generator((3, 32, 32), heads=2)
    celeba = Generator((3, 64, 64), heads=2, channels=[512, 256, 128, 64])
    assert conv.features == (256, 8, 8)
    assert cifar.features == celeba.features == (512, 4, 4)
    assert [tuple(layer.affine.weight.shape[:2]) for layer in cifar.decoder.parts[0].layers] == [(512, 256), (256, 128)]
    assert tuple(cifar.decoder.parts[0].last.weight.shape) == (128, 6, 5, 5)
    assert [layer.affine.out_features for layer in conv.middle] == [1024, 1024, 256 * 64]


def test_image_networks_refuse_vectors():
    with pytest.raises(ValueError, match="images"):
        Generator((784,))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_mlp_is_its_formula(activation):
    torch.manual_seed(1)
    network = MLP((3,), heads=2, hidden=[4, 5], activation=activation).double()
    state = torch.randn(7, 3, dtype=torch.float64)
    phi = ACTIVATIONS[activation].function
    first, (second,), last = network.first.affine, [layer.affine for layer in network.rest], network.readout.linear
    hidden = phi(functional.linear(phi(functional.linear(state, first.weight, first.bias)), second.weight, second.bias))
    expected = functional.linear(hidden, last.weight, last.bias)
    torch.testing.assert_close(torch.cat(network(state, 1), 1), expected)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_weights_start_with_the_stated_gain(activation):
    halved = {"relu", "leaky-relu", "elu", "gelu", "silu"}
    slope = {"softplus": 1 / 2, "tanh": 3 / 5, "sigmoid": 1 / 4}
    gain = 2**0.5 if activation in halved else 1 / slope[activation]
    torch.manual_seed(0)
    weight = MLP((1000,), hidden=[1000], activation=activation).first.affine.weight
    assert weight.std().item() * 1000**0.5 == pytest.approx(gain, rel=4 / (2 * 1000**2) ** 0.5)


def test_labels_start_with_small_vectors():
    torch.manual_seed(0)
    assert Conditioning(1000, 1, classes=1000).labels.weight.std().item() == pytest.approx(0.1, rel=4 / (2 * 1000**2) ** 0.5)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_signals_keep_their_size_in_a_deep_network_at_the_start(activation):
    torch.manual_seed(1)
    network = MLP((256,), hidden=[256] * 6, activation=activation)
    state = torch.randn(64, 256)
    values = network.first(state, 1)
    for layer in network.rest:
        values = layer(values, 1)
    assert 0.1 < values.std() < 10


def test_rbf_is_its_formula():
    torch.manual_seed(1)
    network = RadialBasis((2,), units=3, steps=4).double()
    with torch.no_grad():
        network.log_width.normal_()
    state, k = torch.randn(7, 2, dtype=torch.float64), 3
    activity = (-(torch.cdist(state, network.centres) ** 2) / (2 * network.log_width.exp() ** 2)).exp()
    hidden = activity / activity.sum(1, keepdim=True)
    linear = network.readout.linear
    torch.testing.assert_close(network(state, k)[0], hidden @ linear.weight[k - 1].T + linear.bias[k - 1])


def test_rbf_centres_are_spread_like_the_data():
    torch.manual_seed(1)
    network = RadialBasis((2,), units=20_000)
    mean, variance = torch.tensor([3.0, -1.0]), torch.tensor([0.25, 4.0])
    network.spread(mean, variance)
    error = 4 * (variance / 20_000).sqrt()
    assert ((network.centres.mean(0) - mean).abs() < error).all()
    assert ((network.centres.var(0) - variance).abs() < 4 * variance * (2 / 20_000) ** 0.5).all()
    torch.testing.assert_close(network.log_width.exp().square(), torch.full((20_000,), 2.125))


def test_linear_layers_per_step_agree_by_gathering_and_by_visiting_the_steps(monkeypatch):
    layer, hidden, k = StepLinear(4, 3, 3), torch.randn(8, 4), torch.tensor([2, 1, 3, 1, 1, 2, 3, 2])
    gathered = layer(hidden, k)
    monkeypatch.setattr("chainkit_networks.step_linear.GATHERED", 0)
    torch.testing.assert_close(layer(hidden, k), gathered)
    assert len(hidden) * 12 > layer.weight.numel()


@pytest.mark.parametrize("gathered", [0, 2**18])
def test_linear_layers_between_knots_are_their_formula(gathered, monkeypatch):
    """Five steps, three knots: steps 1, 3 and 5 are knots, the others half one and half the next."""
    monkeypatch.setattr("chainkit_networks.step_linear.GATHERED", gathered)
    layer = StepLinear(4, 3, 5, knots=3).double()
    torch.nn.init.normal_(layer.bias)
    hidden, k = torch.randn(7, 4, dtype=torch.float64), torch.tensor([5, 1, 2, 4, 3, 2, 1])
    at_knots = torch.einsum("noi,bi->bno", layer.weight, hidden) + layer.bias
    shares = torch.tensor([[1, 0, 0], [0.5, 0.5, 0], [0, 1, 0], [0, 0.5, 0.5], [0, 0, 1]], dtype=torch.float64)
    torch.testing.assert_close(layer(hidden, k), torch.einsum("bn,bno->bo", shares[k - 1], at_knots))
    torch.testing.assert_close(layer(hidden, 4), torch.einsum("n,bno->bo", shares[3], at_knots))


def test_between_knots_weights_are_linear_in_the_step():
    """Eight steps, four knots: a knot every 7 / 3 steps."""
    layer, hidden = StepLinear(4, 3, 8, knots=4).double(), torch.randn(1, 4, dtype=torch.float64)
    at_knots = torch.einsum("noi,bi->bno", layer.weight, hidden) + layer.bias
    for k in range(1, 9):
        share = (1 - ((k - 1) * 3 / 7 - torch.arange(4, dtype=torch.float64)).abs()).clamp(min=0)
        torch.testing.assert_close(layer(hidden, k), torch.einsum("n,bno->bo", share, at_knots))


def test_one_knot_is_refused():
    with pytest.raises(ValueError, match="between two knots or more"):
        StepLinear(4, 3, 5, knots=1)


@pytest.mark.parametrize("knots", [5, 40])
def test_as_many_knots_as_steps_are_a_layer_for_each(knots):
    layer, free = StepLinear(4, 3, 5, knots=knots), StepLinear(4, 3, 5)
    free.load_state_dict(layer.state_dict())
    hidden, k = torch.randn(7, 4), torch.tensor([5, 1, 2, 4, 3, 2, 1])
    torch.testing.assert_close(layer(hidden, k), free(hidden, k))


def test_linear_layers_per_step_start_with_outputs_of_mean_square_one():
    torch.manual_seed(1)
    weight = StepLinear(400, 300, 2).weight
    assert weight.std().item() == pytest.approx(400**-0.5, rel=4 / (2 * weight.numel()) ** 0.5)


@pytest.mark.parametrize("readout", ["shared", "per-step"])
def test_networks_start_close_to_the_biases_of_their_heads(readout):
    """The last layer's outputs start a tenth as wide as its inputs."""
    torch.manual_seed(1)
    weight = MLP((400,), hidden=[500], heads=2, steps=2, readout=readout).readout.linear.weight
    assert weight.std().item() == pytest.approx(0.1 * 500**-0.5, rel=4 / (2 * weight.numel()) ** 0.5)


def test_steps_are_waves_whose_lengths_grow_from_two_pi_to_ten_thousand_times_that():
    table, k = waves(50).double(), torch.arange(1, 51, dtype=torch.float64)
    for number in range(32):
        phase = k / 10_000 ** (number / 32)
        torch.testing.assert_close(table[:, number], phase.sin(), atol=1e-6, rtol=0)
        torch.testing.assert_close(table[:, 32 + number], phase.cos(), atol=1e-6, rtol=0)
    assert table.shape == (50, 64)


def test_the_state_gets_no_gradient_unless_it_asks_for_one():
    given = case("mlp")
    given.network(given.state, 1)[0].sum().backward()
    assert given.state.grad is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden": []}, "at least one hidden layer"),
        ({"norm": "batch"}, "norm is one of"),
        ({"readout": "each"}, "readout is one of"),
        ({"knots": 2}, "knots are of a read-out per step"),
        ({"step": "sine"}, "step is one of"),
        ({"activation": "cube"}, "activation is one of"),
    ],
)
def test_unknown_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        MLP((2,), **settings)
