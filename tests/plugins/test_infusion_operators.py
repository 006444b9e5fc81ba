"""The operators of infusion training, and what the plugin registers."""

import math
import subprocess
import sys

import attrs
import pytest
import torch
from torch import nn

from chainkit import ForwardProcess, Network, Objective, Schedule, TransitionOperator
from chainkit.capabilities import RealStates
from chainkit.component import Component, Context, Part
from chainkit.data import Summary
from chainkit_infusion import InfusionGaussian, InfusionIsotropic, hooks
from chainkit_infusion.configs import InfusionGaussianConfig, InfusionIsotropicConfig
from chainkit_infusion.gaussian import build as build_gaussian
from chainkit_infusion.isotropic import build as build_isotropic

MEAN, VARIANCE = torch.tensor([0.2, 0.5, 0.0]), torch.tensor([0.02, 0.06, 0.0])


class Heads(Network):
    """Linear heads, counted."""

    def __init__(self, heads, dim=3):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(dim, dim) for _ in range(heads))
        self.calls = 0
        for layer in self.layers:
            nn.init.normal_(layer.weight, 0, 0.01, generator=torch.Generator().manual_seed(0))

    def forward(self, state, k, condition=None):
        self.calls += 1
        return tuple(layer(state) for layer in self.layers)

    def bias_heads(self, biases):
        for layer, bias in zip(self.layers, biases, strict=True):
            layer.bias.data.copy_(bias)


@attrs.frozen(kw_only=True)
class Nothing:
    pass


NETWORK = Part(
    kind="network",
    component=Component(name="heads", config=Nothing, build=lambda config, context: Heads(context.heads)),
    config=Nothing(),
    path="chain.operator.network",
)


def context(mean=MEAN, variance=VARIANCE, steps=4):
    return Context(data=Summary(shape=(3,), states=RealStates, mean=mean, variance=variance), steps=steps)


def test_mean_and_variance_are_the_sigmoid_heads_of_the_paper():
    network, state = Heads(2), torch.rand(5, 3)
    distribution = InfusionGaussian(network)(state, 2).at()
    mean, variance = network(state, 2)
    torch.testing.assert_close(distribution.mean, mean.sigmoid())
    torch.testing.assert_close(distribution.variance, 0.1 * variance.sigmoid() + 1e-4)


def test_one_call_is_one_network_evaluation():
    for operator in (InfusionGaussian(Heads(2), output_variance=0.1), InfusionIsotropic(Heads(1), learned=True)):
        kernel = operator(torch.rand(5, 3), 1)
        kernel.at()
        kernel.at(2.0)
        assert operator.network.calls == 1


def test_training_starts_at_the_moments_of_the_data():
    config = InfusionGaussianConfig(network=NETWORK)
    distribution = build_gaussian(config, context())(torch.zeros(1, 3), 1).at()
    torch.testing.assert_close(distribution.mean, torch.tensor([[0.2, 0.5, 0.02]]))
    torch.testing.assert_close(distribution.variance, torch.tensor([[0.02, 0.06, 0.1 * 0.02 + 1e-4]]))


@pytest.mark.parametrize(("mean", "start"), [(0.0, 0.02), (1.0, 0.98), (0.985, 0.98), (0.3, 0.3)])
def test_a_sigmoid_mean_starts_no_nearer_to_its_ends_than_it_can_learn_from(mean, start):
    config = InfusionGaussianConfig(network=NETWORK)
    distribution = build_gaussian(config, context(torch.full((3,), mean), torch.full((3,), 0.01)))(torch.zeros(1, 3), 1).at()
    torch.testing.assert_close(distribution.mean, torch.full((1, 3), start))


def test_a_linear_mean_reaches_data_outside_the_unit_interval():
    mean = torch.tensor([-3.0, 0.0, 4.0])
    config = InfusionGaussianConfig(network=NETWORK, mean="linear", variance_scale=10.0)
    distribution = build_gaussian(config, context(mean, torch.ones(3)))(torch.zeros(1, 3), 1).at()
    torch.testing.assert_close(distribution.mean, mean[None])
    torch.testing.assert_close(distribution.variance, torch.ones(1, 3))


@pytest.mark.parametrize(("mean", "variance"), [([-0.5, 0.5, 0.5], [0.1] * 3), ([0.5] * 3, [1.0] * 3), ([1.5] * 3, [0.1] * 3)])
def test_a_sigmoid_mean_is_refused_for_data_that_it_cannot_reach(mean, variance):
    for build, config in ((build_gaussian, InfusionGaussianConfig), (build_isotropic, InfusionIsotropicConfig)):
        with pytest.raises(ValueError, match='mean = "linear"'):
            build(config(network=NETWORK), context(torch.tensor(mean), torch.tensor(variance)))


def test_a_mean_of_another_name_is_refused():
    with pytest.raises(ValueError, match="sigmoid, linear"):
        InfusionGaussian(Heads(2), mean="softmax")


def test_the_isotropic_output_replaces_the_variance_of_the_last_factor_alone():
    plain, isotropic, state = InfusionGaussian(Heads(2)), InfusionGaussian(Heads(2), output_variance=0.03), torch.rand(4, 3)
    isotropic.load_state_dict(plain.state_dict())
    assert (isotropic(state, 1).at().variance == 0.03).all()
    torch.testing.assert_close(isotropic(state, 2).at().variance, plain(state, 2).at().variance)
    mixed = isotropic(state, torch.tensor([1, 2, 1, 3])).at().variance
    assert (mixed[[0, 2]] == 0.03).all()
    torch.testing.assert_close(mixed[[1, 3]], plain(state, 2).at().variance[[1, 3]])
    torch.testing.assert_close(isotropic(state, 1).at().mean, plain(state, 1).at().mean)


def test_the_isotropic_operator_has_one_variance():
    state = torch.rand(5, 3)
    fixed, learned = InfusionIsotropic(Heads(1), variance=0.01), InfusionIsotropic(Heads(1), variance=0.01, learned=True)
    for operator in (fixed, learned):
        distribution = operator(state, 1).at()
        assert distribution.variance.item() == pytest.approx(0.01)
        expected = torch.distributions.Normal(distribution.mean, 0.1).log_prob(state).sum(1)
        torch.testing.assert_close(distribution.log_prob(state), expected)
    fixed(state, 1).at().log_prob(state).sum().backward()
    learned(state, 1).at().log_prob(state).sum().backward()
    assert "rho" not in dict(fixed.named_parameters())
    assert learned.rho.grad != 0


def test_a_learned_variance_stays_above_its_floor():
    operator = InfusionIsotropic(Heads(1), variance=0.01, learned=True, variance_floor=1e-3)
    operator.rho.data.fill_(-100)
    assert operator.variance.item() == pytest.approx(1e-3)
    with pytest.raises(ValueError, match="floor"):
        InfusionIsotropic(Heads(1), variance=1e-4, learned=True)
    assert InfusionIsotropic(Heads(1), variance=1e-5).variance.item() == pytest.approx(1e-5)


@pytest.mark.parametrize("make", [lambda: InfusionGaussian(Heads(2)), lambda: InfusionIsotropic(Heads(1), learned=True)])
def test_small_variances_survive_bfloat16_and_float64_stays(make):
    operator, state = make(), torch.rand(2, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        distribution = operator(state, 1).at()
    assert distribution.mean.dtype == distribution.variance.dtype == torch.float32
    assert operator.double()(state.double(), 1).at().log_prob(state.double()).dtype == torch.float64


def test_the_floor_caps_the_log_density_at_the_figure_of_the_paper():
    network = Heads(2, 784)
    for layer in network.layers:
        layer.weight.data.zero_()
    network.bias_heads([torch.zeros(784), torch.full((784,), -100.0)])
    best = InfusionGaussian(network)(torch.zeros(1, 784), 1).at().log_prob(torch.full((1, 784), 0.5)).item()
    assert best == pytest.approx(-392 * math.log(2 * math.pi * 1e-4), rel=1e-5)
    assert best == pytest.approx(2890, abs=1)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: InfusionGaussianConfig(network=NETWORK, variance_scale=0.0),
        lambda: InfusionGaussianConfig(network=NETWORK, variance_floor=-1e-4),
        lambda: InfusionIsotropicConfig(network=NETWORK, variance=0.0),
    ],
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match="must be"):
        wrong()


def schedule(**settings):
    (component,) = hooks.chainkit_schedules()
    return Part(kind="schedule", component=component, config=component.config(**settings), path="process.rate")


def test_what_the_plugin_registers_builds_what_its_hook_promises():
    parts = {"rate": schedule(omega=0.02), "network": NETWORK}
    kinds = {"schedules": Schedule, "processes": ForwardProcess, "operators": TransitionOperator, "objectives": Objective}
    names = []
    for kind, base in kinds.items():
        for component in getattr(hooks, f"chainkit_{kind}")():
            nested = {field.name: parts[field.name] for field in attrs.fields(component.config) if field.name in parts}
            built = component.make(component.config(**{**component.example, **nested}), context())
            assert isinstance(built, base)
            names.append(component.name)
    assert names == [
        "increasing",
        "infusion",
        "infusion-binary",
        "infusion-gaussian",
        "infusion-isotropic",
        "denoising",
        "lower-bound",
    ]


def test_operators_provide_what_their_kernels_are():
    for component, operator in zip(hooks.chainkit_operators(), (InfusionGaussian(Heads(2)), InfusionIsotropic(Heads(1))), strict=True):
        assert all(isinstance(operator(torch.rand(2, 3), 1).at(), capability) for capability in component.provided(None))


def test_a_rate_that_leaves_the_unit_interval_is_refused_when_the_process_is_built():
    class Rising(Schedule):
        def values(self, steps):
            return torch.arange(1, steps + 1).double()

    (infusion, *_) = hooks.chainkit_processes()
    rate = Part(kind="schedule", component=Component(name="rising", config=Nothing, build=lambda *_: Rising()), config=Nothing(), path="")
    with pytest.raises(ValueError, match="infusion rate"):
        infusion.make(infusion.config(rate=rate), context())


def test_listing_the_components_does_not_import_torch():
    program = "import chainkit_infusion.hooks as h, sys; h.chainkit_operators(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False, env={"PYTHONPATH": ":".join(sys.path)}).returncode == 0
