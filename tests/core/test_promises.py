"""The promises of the design, measured on the methods that are shipped: evaluations, memory, batch-mates, names, imports."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import weakref
from pathlib import Path

import attrs
import pytest
import torch
from torch.nn import functional

import chainkit
from chainkit import stacking
from chainkit.build import build_data, build_model, build_part
from chainkit.component import HOOKS, Component, Context
from chainkit.modes import evaluating
from chainkit.optimisation import Optimisers, parameter_sets
from chainkit.random import seeded
from chainkit.recipe import read_recipe
from chainkit.statistics import recompute_statistics
from chainkit.testing import tiny_host
from chainkit.training import Trainer
from chainkit_networks.configs import MLPConfig
from chainkit_networks.mlp import MLP

# One network evaluation per state


class Counted(MLP):
    """A network that writes down how many states it was evaluated at, and at which step."""

    calls: list[tuple[int, object]]

    def forward(self, state, k, condition=None):
        self.calls.append((len(state), k if isinstance(k, int) else "drawn"))
        return super().forward(state, k, condition)


class Counting:
    """The plugin that provides the network ``counted``; it keeps the calls of all of them."""

    chainkit_api = (1, 1)

    def __init__(self) -> None:
        self.calls: list[tuple[int, object]] = []

    @chainkit.hookimpl
    def chainkit_networks(self):
        def build(config, context):
            network = Counted(
                context.data.shape,
                heads=context.heads,
                hidden=config.hidden,
                norm=config.norm,
                step=config.step,
                readout=config.readout,
                steps=context.steps,
            )
            network.calls = self.calls
            return network

        return [Component(name="counted", config=MLPConfig, build=build)]


REAL = 'data = { type = "swiss-roll", n = 64, valid = 8, test = 16 }'
BITS = 'data = { type = "heartbeat", n = 64, valid = 8, test = 16 }'


def recipe(data, operator, process, objective, prior="gaussian", steps=5, network="", chain=""):
    return f"""
device = "cpu"
{data}
[chain]
steps = {steps}
prior = {{ type = "{prior}" }}
{chain}
[chain.operator]
{operator}
network = {{ type = "counted", hidden = [6]{network} }}
[process]
{process}
[objective]
{objective}
[train]
batch_size = 16
statistics_examples = 64
optimizer = {{ type = "adam" }}
"""


GAUSSIAN = 'type = "walkback-gaussian"\nsigma0 = 0.1'
FLIP = 'type = "walkback-bernoulli"'
HEATED, INFUSION = 'type = "heated"', 'type = "infusion"'
INFUSED = 'type = "infusion-gaussian"\nmean = "linear"'
DIFFUSION, BINOMIAL = 'type = "diffusion-gaussian"', 'type = "diffusion-binomial"'
REVERSED, FLIPPED = 'type = "diffusion-gaussian"', 'type = "diffusion-bernoulli"'
NOISE = 'type = "noise-prediction"'

K, B = 5, 16
# What is trained, how often the network is evaluated for one batch, and at how many states each time.
METHODS = {
    "walkback": ((REAL, GAUSSIAN, HEATED, 'type = "walkback"'), K + 1, B),
    "walkback on bits": ((BITS, FLIP, HEATED, 'type = "walkback"', "bernoulli"), K + 1, B),
    "walkback-bound": ((REAL, GAUSSIAN, HEATED, 'type = "walkback-bound"'), K + 1, B),
    "walkback-bound on bits": ((BITS, FLIP, HEATED, 'type = "walkback-bound"\nwalks = 3', "bernoulli"), K + 1, 3 * B),
    "denoising": ((REAL, INFUSED, INFUSION, 'type = "denoising"'), K, B),
    "lower-bound": ((REAL, INFUSED, INFUSION, 'type = "lower-bound"'), K, B),
    "diffusion, one step": ((REAL, REVERSED, DIFFUSION, 'type = "diffusion-bound"\nsteps = "one"'), 1, B),
    "diffusion, one step for all": ((REAL, REVERSED, DIFFUSION, 'type = "diffusion-bound"\nsteps = "one"\nshared = true'), 1, B),
    "diffusion, all steps": ((REAL, REVERSED, DIFFUSION, 'type = "diffusion-bound"\nsteps = "all"'), K, B),
    "diffusion of noise": ((REAL, NOISE, DIFFUSION, 'type = "diffusion-simple"'), 1, B),
    "diffusion of bits": ((BITS, FLIPPED, BINOMIAL, 'type = "diffusion-bound"\nsteps = "all"', "bernoulli"), K, B),
}
every_method = pytest.mark.parametrize("method", METHODS)


class Built:
    """What a recipe describes, before any training."""

    def __init__(self, parts, **settings) -> None:
        self.counting = Counting()
        self.host = tiny_host(counting=self.counting)
        self.recipe = read_recipe(recipe(*parts, **settings), self.host.registry)
        self.data = build_data(self.recipe, torch.device("cpu"))
        self.model = build_model(self.recipe, self.data, torch.device("cpu"))
        self.context = Context(data=self.data.summary, steps=self.model.chain.steps)

    @property
    def calls(self):
        return self.counting.calls

    def trainer(self, **settings) -> Trainer:
        table = attrs.evolve(self.recipe.train, **settings)
        sets = parameter_sets(self.model, self.model.objective.parameter_sets())
        factory = build_part(table.optimizer, self.context)
        return Trainer(self.model, self.data, table, Optimisers(sets, dict.fromkeys(sets, factory)))

    def estimate(self, name, **settings):
        return build_part(self.host.part("estimator", name, **settings), self.context).estimate(
            self.model.chain, self.model.process, self.data("test")
        )


def count_products(built, monkeypatch) -> list[int]:
    """The rows of every product with the network's first matrix, from now on."""
    rows: list[int] = []
    linear, first = functional.linear, built.model.chain.operator.network.first.affine

    def counted(values, weight, bias=None):
        if weight is first.weight:
            rows.append(len(values))
        return linear(values, weight, bias)

    monkeypatch.setattr(functional, "linear", counted)
    return rows


def walk_evaluations(method):
    """Evaluations of a complete walk: K, and one more where the walk leaves from the data by the operator itself."""
    return K + 1 if method.startswith("walkback") else K


@every_method
def test_training_evaluates_the_network_once_per_state(method, monkeypatch):
    parts, evaluations, rows = METHODS[method]
    built = Built(parts)
    updates = built.trainer().epoch_updates()
    next(updates)  # the first one also tries whether steps can be trained together
    built.calls.clear()
    products = count_products(built, monkeypatch)
    next(updates)
    assert products == [rows] * evaluations
    steps = [k for _, k in built.calls[:evaluations]]
    if evaluations == K + 1:
        assert steps == [1, 1, 2, 3, 4, 5]  # s_0 with index 1
    elif evaluations == K:
        assert steps == [5, 4, 3, 2, 1]


STACKED = ("walkback", "walkback on bits", "denoising")


@every_method
def test_steps_trained_together_are_evaluated_once_more_without_products(method):
    parts, evaluations, rows = METHODS[method]
    built = Built(parts)
    updates = built.trainer().epoch_updates()
    next(updates)
    built.calls.clear()
    next(updates)
    together = [(rows * K, "drawn")] if method in STACKED else []
    assert built.calls[evaluations:] == together


@pytest.mark.parametrize("method", ["walkback", "walkback on bits", "denoising", "diffusion, all steps"])
def test_an_update_after_every_step_needs_no_more_evaluations(method):
    parts, evaluations, rows = METHODS[method]
    built = Built(parts)
    next(built.trainer(update="step").epoch_updates())
    assert [states for states, _ in built.calls] == [rows] * evaluations


@every_method
@pytest.mark.parametrize("estimator", ["lower-bound", "importance"])
def test_estimating_evaluates_the_network_once_per_state(method, estimator):
    built = Built(METHODS[method][0])
    built.estimate(estimator, walks=3)
    assert [states for states, _ in built.calls] == [16 * 3] * walk_evaluations(method)


@every_method
def test_sampling_evaluates_the_network_once_per_step(method):
    built = Built(METHODS[method][0])
    built.model.chain.sample(7, source=seeded("cpu", 0))
    assert built.calls == [(7, k) for k in (5, 4, 3, 2, 1)]


@every_method
def test_statistics_are_recomputed_on_one_walk(method):
    built = Built(METHODS[method][0], network=', norm = "per-step"')
    batch = built.data.batch("train", torch.arange(64), seeded("cpu", 0))
    recompute_statistics(built.model.chain, built.model.process, batch, source=seeded("cpu", 1))
    assert [states for states, _ in built.calls] == [64] * walk_evaluations(method)


# Memory flat in K


class Saved:
    def __init__(self, tensor) -> None:
        self.tensor = tensor


class Meter:
    """Bytes that autograd keeps at once, and their peak."""

    def __init__(self) -> None:
        self.live = self.peak = 0

    def pack(self, tensor) -> Saved:
        saved, size = Saved(tensor), tensor.numel() * tensor.element_size()
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(saved, self.free, size)
        return saved

    def free(self, size) -> None:
        self.live -= size


def peak(parts, steps, **settings):
    built, meter = Built(parts, steps=steps, network=', step = "embedding"'), Meter()
    with torch.autograd.graph.saved_tensors_hooks(meter.pack, lambda saved: saved.tensor):
        next(built.trainer(batch_size=64, **settings).epoch_updates())
    assert meter.peak > 0
    return meter.peak


LOCAL = [
    "walkback",
    "walkback on bits",
    "denoising",
    "diffusion, one step",
    "diffusion, all steps",
    "diffusion of noise",
    "diffusion of bits",
]


@pytest.mark.parametrize("method", LOCAL)
@pytest.mark.parametrize("update", ["walk", "step"])
def test_memory_of_a_local_objective_does_not_grow_with_the_chain(method, update, monkeypatch):
    monkeypatch.setattr(stacking, "CHUNK_BYTES", 6000)  # two or three steps
    parts = METHODS[method][0]
    short, long = (peak(parts, steps, update=update) for steps in (5, 40))
    assert long <= 1.05 * short + 2000  # tables of the steps, of a few numbers each


@pytest.mark.parametrize("method", ["walkback-bound", "lower-bound"])
def test_memory_of_a_bound_with_its_path_does(method):
    parts = METHODS[method][0]
    short, long = (peak(parts, steps) for steps in (5, 40))
    assert long > 5 * short


# The figure of an example is its own


@every_method
@pytest.mark.parametrize("norm", ["per-step", "shared"])
def test_the_figure_of_an_example_does_not_depend_on_its_batch_mates(method, norm):
    """Each of 16 examples alone, in batches of three, and all together, after a little training."""
    built = Built(METHODS[method][0], network=f', norm = "{norm}"')
    chain, process = built.model.chain, built.model.process
    next(built.trainer(batch_size=64).epoch_updates())  # so many that random steps have company, as norm = "per-step" needs
    built.model.double()
    built.data.to("cpu", torch.float64)
    batch = built.data.batch("train", torch.arange(64), seeded("cpu", 0))
    recompute_statistics(chain, process, batch, source=seeded("cpu", 1))
    examples = built.data("test")
    together = chainkit.log_weights(chain, process, examples, 4)
    threes = chainkit.log_weights(chain, process, examples, 4, max_rows=12)
    alone = torch.cat([chainkit.log_weights(chain, process, attrs.evolve(examples, index=index), 4) for index in examples.index.split(1)])
    torch.testing.assert_close(threes, together, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(alone, together, rtol=1e-9, atol=1e-9)


def test_statistics_of_the_batch_would_make_it_depend():
    """What the promise is there to prevent: with batch statistics the same output changes with its batch-mates."""
    built = Built(METHODS["denoising"][0], network=', norm = "per-step"')
    states = built.data.batch("test", torch.arange(8), seeded("cpu", 0)).origin
    operator = built.model.chain.operator
    first, other = (operator(states[:n], 2).at().mean[0] for n in (4, 8))
    assert not torch.allclose(first, other)
    with evaluating(operator):
        first, other = (operator(states[:n], 2).at().mean[0] for n in (4, 8))
    torch.testing.assert_close(first, other)


# The core knows no method

CORE = Path(chainkit.__file__).parent
PACKAGES = sorted(folder.name for folder in (CORE.parent / "plugins").iterdir() if folder.name.startswith("chainkit_"))
NAMES = ["infusion", "walkback", "heated", "diffusion", "gsn", "langevin", "gibbs", "boltzmann", "tensorboard"]


def docstrings(tree):
    """The docstrings of a module, and the bare strings that document attributes."""
    return {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)}


def words_of(path):
    """Every identifier, imported module and string constant in a file, docstrings aside."""
    tree = ast.parse(path.read_text())
    prose = docstrings(tree)
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=word) | ast.Attribute(attr=word) | ast.arg(arg=word) | ast.keyword(arg=str(word)) | ast.alias(name=word):
                yield word
            case ast.FunctionDef(name=word) | ast.AsyncFunctionDef(name=word) | ast.ClassDef(name=word) | ast.ImportFrom(module=str(word)):
                yield word
            case ast.Constant(value=str(word)) if id(node) not in prose:
                yield word


def core_files():
    return sorted(CORE.rglob("*.py"))


@pytest.mark.parametrize("path", core_files(), ids=lambda path: str(path.relative_to(CORE)))
def test_the_core_names_no_method_and_no_plugin(path):
    packages = set(PACKAGES) - set(HOOKS.values())  # some are called like the hook that they implement
    forbidden = re.compile("|".join([*NAMES, *(rf"\b{package}\b" for package in packages)]), re.IGNORECASE)
    assert [word for word in words_of(path) if forbidden.search(word)] == []


def test_the_core_imports_no_plugin():
    found = {word.partition(".")[0] for path in core_files() for word in imports(path)}
    assert not found & set(PACKAGES)


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_no_component_is_named_in_the_core():
    """Nor is one that stands for a method by its name in recipes; words of the language, such as ``none``, are not meant."""
    entries = tiny_host().registry.entries()
    names = {
        entry.component.name for entry in entries if entry.plugin.name != "tiny" and entry.kind in ("process", "objective", "operator")
    }
    assert len(names) > 10
    written = {word for path in core_files() for word in words_of(path)}
    assert names & written == set()


# A lean start


@pytest.mark.parametrize(
    "words",
    [
        "--help",
        "--version",
        "check infusion_digits",
        "check nowhere",
        "plugins",
        "plugins --json",
        "components",
        "components show operator:infusion-gaussian",
        "recipes ls",
        "recipes show vw_digits",
        "run --help",
        "resume --help",
        "sample --help",
        "evaluate --help",
        "run",
        "run nowhere.toml",
        "run infusion_digits --set chain.steps=-1",
        "evaluate somewhere --split best",
        "sample somewhere -n 0",
    ],
)
def test_what_computes_nothing_does_not_import_torch(words):
    program = (
        "import sys, chainkit; from chainkit.cli import main\n"
        "main(sys.argv[1:])\n"
        "print(sorted({'torch', 'numpy', 'torchvision', 'sklearn', 'matplotlib'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", program, *words.split()], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"
