"""The GSN against its equations written out; its noise, its gradients, what it refuses; labels given examples."""

import math
from functools import partial

import pytest
import torch

from chainkit import Chain, Context, Data
from chainkit.batch import Batch
from chainkit.data import Split
from chainkit.distributions import Bernoulli, Density
from chainkit.errors import DataError
from chainkit.host import load_plugins
from chainkit.preparation import Unprepared
from chainkit.random import seeded
from chainkit_gsn import GSN, GaussianNoise, OutputAccuracy, Outputs, Reconstruction, SaltAndPepper, WalkbackProcess, hold_known
from chainkit_gsn.units import NoisyUnits
from chainkit_priors import BernoulliPrior

ROWS, BITS, HIDDEN, NOISE = 5, 6, (7, 4, 3), (0.4, 0.8, 0.3)


def bits(rows=ROWS, width=BITS, seed=0):
    return (torch.rand(rows, width, generator=seeded("cpu", seed)) < 0.5).double()


def gsn(hidden=HIDDEN, noise=NOISE, **given):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return GSN((BITS,), hidden, SaltAndPepper(0.4), noise, **given).double()


def chain_of(operator, steps=4):
    return Chain(BernoulliPrior(torch.full((BITS,), 0.5).double()), operator, steps, extend="noise-end")


def state_of(operator, source):
    return operator.entry(bits()).sample(source)


def test_a_step_is_the_update_of_odd_layers_and_then_of_even_ones():
    operator = gsn()
    (w1, w2, w3), (b0, b1, b2, b3) = operator.weights, operator.biases
    with torch.no_grad():
        for bias in operator.biases:
            bias.normal_(generator=seeded("cpu", 3))
    visible, (n1, m1), _, (n3, m3) = state_of(operator, seeded("cpu", 2))
    h2 = torch.randn(ROWS, HIDDEN[1], generator=seeded("cpu", 4)).double()
    kernel = operator((visible, (n1, m1), h2, (n3, m3)), 2)
    h1 = torch.tanh(visible @ w1 + h2 @ w2.T + b1 + n1) + m1
    h3 = torch.tanh(h2 @ w3 + b3 + n3) + m3
    torch.testing.assert_close(kernel.reconstruction().logits, h1 @ w1.T + b0)
    noise1, units, noise3 = kernel.hidden
    torch.testing.assert_close(units.drive, h1 @ w2 + h3 @ w3.T + b2)
    assert [part.variance.item() for part in noise1.parts] == pytest.approx([NOISE[0] ** 2] * 2)
    assert [part.variance.item() for part in noise3.parts] == pytest.approx([NOISE[2] ** 2] * 2)


def test_x_alone_is_a_state_with_hidden_layers_at_rest():
    operator = gsn()
    still = torch.zeros(ROWS, HIDDEN[0]).double(), torch.zeros(ROWS, HIDDEN[2]).double()
    at_rest = (bits(), (still[0], still[0]), torch.zeros(ROWS, HIDDEN[1]).double(), (still[1], still[1]))
    torch.testing.assert_close(operator(bits(), 1).reconstruction().logits, operator(at_rest, 1).reconstruction().logits)


def test_noisy_units_have_noise_on_both_sides_of_the_nonlinearity():
    drive = torch.tensor([[-0.5, 3.0]]).double().expand(40_000, -1)
    drawn = NoisyUnits(drive, 0.7).sample(seeded("cpu", 0))
    normal = 0.7 * torch.randn(400_000, 1, generator=seeded("cpu", 1)).double()
    inner = torch.tanh(drive[:1] + normal)
    mean, variance = inner.mean(0), inner.var(0) + 0.7**2
    assert ((drawn.mean(0) - mean).abs() < 4.5 * (variance / 40_000).sqrt() + 0.005).all()
    assert ((drawn.var(0) / variance - 1).abs() < 0.04).all()


def test_a_walk_enters_with_x_corrupted_and_even_layers_at_rest():
    state = gsn().entry(torch.ones(4000, BITS).double()).sample(seeded("cpu", 0))
    visible, (before, after), h2, _ = state
    assert abs(float(visible.mean()) - 0.8) < 4.5 * math.sqrt(0.16 / visible.numel())
    assert not h2.any()
    for noise in (before, after):
        assert abs(float(noise.std()) / NOISE[0] - 1) < 0.03
    assert abs(float((before * after).mean())) < 4.5 * NOISE[0] ** 2 / math.sqrt(before.numel())


def test_states_are_nested_tuples_and_the_last_is_x():
    samples = chain_of(gsn()).sample(3, steps=9, source=seeded("cpu", 0), keep_path=True)
    first, *between, last = samples.path
    assert first.shape == last.shape == samples.mean.shape == (3, BITS)
    shapes = [(3, BITS), ((3, 7), (3, 7)), (3, 4), ((3, 3), (3, 3))]
    for state in between:
        assert [tuple(part.shape) if torch.is_tensor(part) else tuple(tuple(noise.shape) for noise in part) for part in state] == shapes


def test_the_operator_is_evaluated_once_per_state():
    operator, calls = gsn(), []
    operator.register_forward_hook(lambda module, arguments, result: calls.append(arguments[1]))
    chain = chain_of(operator)
    list(Reconstruction(whole=True).losses(chain, WalkbackProcess(), Batch.of(bits()), source=seeded("cpu", 0)))
    assert calls == [1, 2, 3, 4]
    calls.clear()
    chain.sample(2, steps=7, source=seeded("cpu", 0))
    assert calls == [4, 4, 4, 4, 3, 2, 1]


def gradients(objective, operator):
    operator.zero_grad()
    for loss in objective.losses(chain_of(operator), WalkbackProcess(), Batch.of(bits()), source=seeded("cpu", 0)):
        loss.value.backward()
    return torch.cat([torch.zeros_like(each).flatten() if each.grad is None else each.grad.flatten() for each in operator.parameters()])


def test_along_the_walk_the_gradient_is_that_of_the_whole_computation():
    """Against finite differences, with the same draws: the states that are bits do not move with the parameters."""
    operator, objective = gsn(noise=(0.0, 0.5, 0.5)), Reconstruction(whole=True)
    found = gradients(objective, operator)
    steps = gradients(Reconstruction(), operator)
    assert not torch.allclose(found, steps)
    (weight, at) = operator.weights[2], (1, 2)  # reaches x only through h2 of the step before

    def value():
        with torch.no_grad():
            losses = objective.losses(chain_of(operator), WalkbackProcess(), Batch.of(bits()), source=seeded("cpu", 0))
            return sum(float(loss.value) for loss in losses)

    def moved(by):
        with torch.no_grad():
            weight[at] += by
        found = value()
        with torch.no_grad():
            weight[at] -= by
        return found

    gradients(objective, operator)
    assert float(weight.grad[at]) == pytest.approx((moved(1e-6) - moved(-1e-6)) / 2e-6, rel=1e-4)
    assert float(weight.grad.abs().max()) > 0


def test_step_by_step_the_topmost_weights_get_no_gradient_through_later_states():
    operator = gsn()
    gradients(Reconstruction(), operator)
    assert operator.weights[2].grad is None
    assert operator.weights[0].grad.any()
    assert operator.weights[1].grad.any()  # h2 is part of the state that h1 is computed from


def test_rows_at_the_last_step_and_others_cannot_share_a_batch():
    operator = gsn()
    kernel = operator(state_of(operator, seeded("cpu", 0)), torch.tensor([1, 2, 2, 1, 3]))
    with pytest.raises(ValueError, match="differ in shape"):
        kernel.at()
    together = operator(state_of(operator, seeded("cpu", 0)), torch.ones(ROWS, dtype=torch.long)).at()
    assert isinstance(together, Bernoulli)


def test_log_w_is_refused_since_a_noisy_unit_has_no_density():
    operator = gsn()
    assert not isinstance(operator(bits(), 2).at(), Density)
    with pytest.raises(TypeError, match="density"):
        list(WalkbackProcess().walk(chain_of(operator), Batch.of(bits()), source=seeded("cpu", 0), with_log_ratio=True))


def test_a_walk_needs_an_operator_that_denoises():
    class Other(torch.nn.Module):
        pass

    chain = chain_of(gsn())
    chain.operator = Other()
    with pytest.raises(TypeError, match="denoises"):
        next(iter(WalkbackProcess().walk(chain, Batch.of(bits()))))


@pytest.mark.parametrize(
    ("change", "message"),
    [({"hidden": (), "noise": ()}, "one hidden layer"), ({"noise": (1.0,)}, "one noise for each")],
)
def test_settings_that_do_not_go_together_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        gsn(**change)


def test_a_corruption_that_leaves_the_bits_is_refused():
    with pytest.raises(ValueError, match="salt-and-pepper or masking"):
        GSN((BITS,), (4,), GaussianNoise(0.3), (0.0,))


def test_known_pixels_stay_and_the_completions_differ():
    operator = gsn()
    mask = torch.tensor([True, True, True, False, False, False])
    value = torch.tensor([1.0, 0.0, 1.0, 0.0, 0.0, 0.0]).double()
    clamp = hold_known(operator.corruption, mask, value, seeded("cpu", 1))
    samples = chain_of(operator).sample(200, steps=20, clamp=clamp, source=seeded("cpu", 0), keep_path=True)
    assert (samples.state[:, mask] == value[mask]).all()
    assert (samples.mean[:, mask] == value[mask]).all()
    assert len(samples.state.unique(dim=0)) > 4
    shown = torch.stack([state[0] for state in samples.path[1:-1]])[..., mask]
    changed = (shown != value[mask]).double().mean()
    assert abs(float(changed) - 0.2) < 4.5 * math.sqrt(0.16 / shown.numel())


# Labels given examples


@pytest.fixture
def labelled():
    """Three clusters of points, 40 of each."""
    labels = torch.arange(120) % 3
    values = torch.eye(3)[labels] * 4 + 0.3 * torch.randn(120, 3, generator=seeded("cpu", 0))
    split = Split(values=values, labels=labels)
    return Data("clusters", {"train": split, "test": split}, Unprepared())


def test_labels_become_bits_and_the_examples_their_condition(labelled):
    data = Outputs(labelled)
    batch = data.batch("test", torch.tensor([4, 2]), None)
    assert batch.origin.tolist() == [[0, 1, 0], [0, 0, 1]]
    torch.testing.assert_close(batch.condition, labelled.split("test").values[[4, 2]])
    assert (data.summary.shape, data.summary.condition, data.summary.classes) == ((3,), (3,), None)
    torch.testing.assert_close(data.conditions(130)[120:], labelled.split("train").values[:10])
    assert data.preparation.words == "labels as one of 3 bits, given clusters as it is"


def test_networks_that_are_not_told_the_examples_are_refused(labelled):
    part = load_plugins(strict=True).part("network", "mlp", hidden=[3])
    with pytest.raises(ValueError, match="take the operator gsn"):
        Context(data=Outputs(labelled).summary, steps=2).build(part)


def test_data_without_labels_is_refused():
    with pytest.raises(DataError, match="no labels"):
        Outputs(Data.of(torch.zeros(4, 2)))


def test_a_discriminant_gsn_learns_the_labels_of_clusters(labelled):
    data = Outputs(labelled)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        operator = GSN((3,), (20, 10), SaltAndPepper(0.4), (0.3, 0.3), given=(3,))
    chain = Chain(BernoulliPrior(torch.full((3,), 1 / 3)), operator, 2, extend="noise-end")
    estimator = OutputAccuracy(chains=5, steps=5)
    before = estimator.estimate(chain, WalkbackProcess(), data("test"))
    optimizer, source = torch.optim.Adam(operator.parameters(), lr=0.01), seeded("cpu", 1)
    for _ in range(150):
        batch = data.batch("train", torch.arange(120), source)
        for loss in Reconstruction(whole=True).losses(chain, WalkbackProcess(), batch, source=source):
            optimizer.zero_grad()
            loss.value.backward()
            optimizer.step()
    after = estimator.estimate(chain, WalkbackProcess(), data("test"))
    assert before.value < 0.7
    assert after.value == 1.0
    assert after.beside["always the commonest"] == pytest.approx(1 / 3)


def test_the_accuracy_of_an_example_does_not_depend_on_its_batch_mates(labelled):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        operator = GSN((3,), (20, 10), SaltAndPepper(0.4), (0.3, 0.3), given=(3,))
    chain, examples = Chain(BernoulliPrior(torch.full((3,), 1 / 3)), operator, 2), Outputs(labelled)("test")
    values = {OutputAccuracy(chains=3, max_rows=rows).estimate(chain, WalkbackProcess(), examples).value for rows in (3, 17, 4000)}
    assert len(values) == 1


@pytest.mark.parametrize("n", [2, 50])
def test_the_error_of_the_accuracy_is_that_of_a_share(labelled, n):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        operator = GSN((3,), (20, 10), SaltAndPepper(0.4), (0.3, 0.3), given=(3,))
    chain, examples = Chain(BernoulliPrior(torch.full((3,), 1 / 3)), operator, 2), Outputs(labelled).examples("test", n)
    found = OutputAccuracy(chains=3).estimate(chain, WalkbackProcess(), examples)
    assert found.error_examples == pytest.approx((found.value * (1 - found.value) / (n - 1)) ** 0.5)


def test_an_operator_of_a_recipe_starts_at_the_rates_of_the_data_with_a_noise_for_each_layer():
    values = torch.zeros(100, 3)
    values[:20, 0], values[:, 2] = 1.0, 1.0
    context = Context(data=Data.of(values, binary=True).summary, steps=2)
    part = partial(load_plugins(strict=True).part, "operator", "gsn", hidden=[5, 4])
    operator = context.build(part(noise=[0.7]))
    torch.testing.assert_close(operator.biases[0], torch.tensor([0.2, 0.01, 0.99]).logit())
    assert list(operator.noise) == [0.7, 0.7]
    assert list(context.build(part(noise=[0.7, 0.2])).noise) == [0.7, 0.2]


def test_a_condition_that_is_missing_is_said():
    with pytest.raises(ValueError, match="nothing to condition it on"):
        gsn(given=(3,))(bits(), 1)
    told, other = (gsn(classes=3)(bits(), 1, torch.full((ROWS,), label)).reconstruction().logits for label in (0, 2))
    assert not torch.allclose(told, other)
