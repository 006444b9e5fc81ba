"""What the plugin registers can be listed without torch, and built from settings alone."""

import importlib
import subprocess
import sys

import attrs
import pytest
import torch
from torch import nn

from chainkit import Component, Context, Density, ForwardProcess, Network, Objective, Part, Prior, Schedule, TransitionOperator
from chainkit.capabilities import BinaryStates, RealStates
from chainkit.component import Table
from chainkit.data import Summary
from chainkit.distributions import Bernoulli, Gaussian
from chainkit.host import load_plugins
from chainkit.testing import tiny_data
from chainkit_diffusion import hooks
from chainkit_diffusion.configs import CosineConfig, DiffusionBoundConfig, FixedConfig, HarmonicConfig, LearnedConfig, NoisePredictionConfig
from chainkit_priors import BernoulliPrior

KINDS = {"schedule": hooks.chainkit_schedules, "process": hooks.chainkit_processes, "operator": hooks.chainkit_operators}
KINDS["objective"] = hooks.chainkit_objectives
CLASSES = {"schedule": Schedule, "process": ForwardProcess, "operator": TransitionOperator, "objective": Objective}
COMPONENTS = [(kind, component) for kind, listed in KINDS.items() for component in listed()]


@attrs.frozen(kw_only=True)
class TinyConfig:
    hidden: list[int] = attrs.field(factory=list)


class Tiny(Network):
    def __init__(self, heads):
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(heads))

    def forward(self, state, k, condition=None):
        return tuple(scale * state for scale in self.scale)

    def bias_heads(self, biases):
        raise NotImplementedError


class Noise(Prior):
    def __init__(self, binary):
        super().__init__()
        self.binary = binary

    def forward(self, rows):
        zeros = torch.zeros(rows, 3)
        return Bernoulli(zeros) if self.binary else Gaussian(zeros, torch.ones(()))


TINY = Component(name="mlp", config=TinyConfig, build=lambda config, context: Tiny(context.heads))


def part(kind, component, settings):
    """A part, its nested parts taken from their defaults."""
    settings = dict(settings)
    for field in attrs.fields(component.config):
        table = settings.get(field.name, field.default.settings if isinstance(field.default, Table) else None)
        if isinstance(table, dict) and "type" in table:
            rest = {key: value for key, value in table.items() if key != "type"}
            inner = "network" if field.name == "network" else "schedule"
            settings[field.name] = part(inner, find(inner, table["type"]), rest)
    return Part(kind=kind, component=component, config=component.config(**settings), path=kind)


def find(kind, name):
    return TINY if kind == "network" else next(component for k, component in COMPONENTS if (k, component.name) == (kind, name))


def context(binary, steps=5):
    data = Summary(shape=(3,), states=BinaryStates if binary else RealStates, mean=torch.zeros(3), variance=torch.ones(3))
    bare = Context(data=data, steps=steps, prior=Noise(binary))
    return attrs.evolve(bare, process=bare.build(part("process", find("process", f"diffusion-{'binomial' if binary else 'gaussian'}"), {})))


@pytest.mark.parametrize(("kind", "component"), COMPONENTS, ids=lambda value: getattr(value, "name", value))
def test_every_component_builds_from_its_example(kind, component):
    binary = BinaryStates in component.needs.get("dataset", ())
    built = context(binary).build(part(kind, component, component.example))
    assert isinstance(built, CLASSES[kind])
    if kind == "operator":
        state = torch.ones(2, 3)
        kernel = built(state, 2).at(1.0)
        assert all(isinstance(kernel, kept) for kept in component.provides if issubclass(kept, Density))
    if kind == "schedule":
        assert built.values(5).shape == (5,)


@pytest.mark.parametrize(("kind", "component"), COMPONENTS, ids=lambda value: getattr(value, "name", value))
def test_every_setting_is_documented(kind, component):
    for field in attrs.fields(component.config):
        assert f"    {field.name}: " in component.config.__doc__


def test_listing_the_components_does_not_import_torch():
    code = "import sys; import chainkit_diffusion.hooks as h; h.chainkit_operators(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}; {code}"], check=False).returncode == 0


def test_everything_that_the_package_names_is_there():
    package = importlib.import_module("chainkit_diffusion")
    assert all(getattr(package, name).__name__ == name for name in package.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        package.Nothing


def test_a_binomial_diffusion_takes_the_rates_of_its_prior_and_refuses_another_kind():
    process = context(binary=True).process
    torch.testing.assert_close(process.step(torch.zeros(1, 3), 5).mean, torch.full((1, 3), 0.5))
    component = find("process", "diffusion-binomial")
    with pytest.raises(ValueError, match="must be Bernoulli, not Gaussian"):
        attrs.evolve(context(binary=False), process=None).build(part("process", component, {}))


def test_a_simple_loss_refuses_a_learned_schedule():
    learned = part("process", find("process", "diffusion-gaussian"), {"schedule": {"type": "variance-learned"}})
    bare = context(binary=False)
    with pytest.raises(ValueError, match="take diffusion-bound"):
        attrs.evolve(bare, process=bare.build(learned)).build(part("objective", find("objective", "diffusion-simple"), {}))


def test_one_step_needs_a_process_with_random_access():
    config = DiffusionBoundConfig(steps="one")
    with pytest.raises(ValueError, match="take steps = 'all'"):
        find("objective", "diffusion-bound").make(config, attrs.evolve(context(binary=False), process=object()))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: FixedConfig(values=[]), "must not be empty"),
        (lambda: FixedConfig(values=[0.1, 0.0]), "above 0"),
        (lambda: FixedConfig(values=[1.1]), "between 0 and 1"),
        (lambda: CosineConfig(limit=1.0), "below 1"),
        (lambda: LearnedConfig(first=0.0), "above 0"),
        (lambda: NoisePredictionConfig(clip=[1.0, -1.0]), "smallest, largest"),
        (lambda: NoisePredictionConfig(clip=[1.0]), "smallest, largest"),
    ],
)
def test_impossible_settings_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_the_harmonic_schedule_has_both_readings():
    paper, code = (find("schedule", "variance-harmonic").make(HarmonicConfig(form=form), Context()) for form in ("paper", "code"))
    assert paper.values(4)[-1] == 1
    assert code.values(4)[-1] == 0.5


@pytest.mark.parametrize(
    ("operator", "process", "data"),
    [("diffusion-gaussian", "diffusion-gaussian", {}), ("diffusion-bernoulli", "diffusion-binomial", {"binary": True})],
)
def test_a_single_step_that_is_the_forward_kernel_is_refused(operator, process, data):
    prior = BernoulliPrior(torch.full((2,), 0.5)) if data else None
    plugins, context = load_plugins(strict=True), Context(data=tiny_data((2,), **data).summary, steps=1, prior=prior)
    context = attrs.evolve(context, process=context.build(plugins.part("process", process)))
    with pytest.raises(ValueError, match="nothing to learn"):
        context.build(plugins.part("operator", operator))
    context.build(plugins.part("operator", operator, first_step="learned"))
