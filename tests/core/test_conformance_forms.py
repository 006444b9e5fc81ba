"""The form of things: what is of another type, shape or range than its kind promises fails with a message that says so."""

from __future__ import annotations

import re
from contextlib import contextmanager

import attrs
import pytest
import torch
from torch import Tensor, nn

from chainkit.batch import Batch
from chainkit.capabilities import BinaryStates, Density, Distribution, HasMean, RandomAccess, RealStates, Reparametrised
from chainkit.component import Component
from chainkit.data import Data, Split
from chainkit.distributions import Bernoulli, Gaussian
from chainkit.estimator import Estimate, Estimator
from chainkit.host import Host
from chainkit.kernel import Kernel
from chainkit.network import Network
from chainkit.objective import Loss, Objective
from chainkit.preparation import Preparation, Unprepared
from chainkit.prior import Prior
from chainkit.schedule import Schedule
from chainkit.testing import (
    TinyPrior,
    TinyProcess,
    check_component,
    check_dataset,
    check_distribution,
    check_estimator,
    check_network,
    check_objective,
    check_operator,
    check_prior,
    check_process,
    check_schedule,
    tiny_chain,
    tiny_data,
)
from chainkit.testing.parts import TinyObjective
from chainkit.testing.tiny import TinyGaussian
from chainkit.transition import Transition


def batch(rows=6):
    return tiny_data().batch("train", torch.arange(rows), None)


@contextmanager
def fails(message):
    """What is done inside raises, and the message has the parts where, expected and seen."""
    with pytest.raises(AssertionError, match=message) as error:
        yield
    assert re.match(r"\w.*: expected .+, seen .+", str(error.value), re.DOTALL), str(error.value)


@pytest.mark.parametrize(
    ("check", "kind"),
    [
        (lambda thing: check_dataset(thing), "Data"),
        (lambda thing: check_distribution(thing), "Distribution"),
        (lambda thing: check_estimator(thing, tiny_chain(), TinyProcess(), tiny_data().examples("test", 3)), "Estimator"),
        (lambda thing: check_network(thing, batch().origin, steps=3), "Network"),
        (lambda thing: check_objective(thing, tiny_chain(), TinyProcess(), batch()), "Objective"),
        (lambda thing: check_operator(thing, batch().origin, steps=3), "TransitionOperator"),
        (lambda thing: check_prior(thing, (2,)), "Prior"),
        (lambda thing: check_process(thing, tiny_chain(), batch()), "ForwardProcess"),
        (lambda thing: check_schedule(thing, 3), "Schedule"),
    ],
)
def test_an_object_of_another_kind(check, kind):
    with pytest.raises(AssertionError, match=rf"expected an instance of {kind}, seen Linear"):
        check(nn.Linear(2, 2))


# Datasets


def examples(n):
    return Split(values=torch.rand(n, 2), labels=torch.arange(n) % 3)


class Reading(Data):
    """Sound data, one property or method of which is replaced."""

    def __init__(self, **changes):
        splits = {name: examples(20) for name in ("train", "test")}
        splits, classes = changes.pop("splits", splits), changes.pop("classes", None)
        super().__init__("read", splits, Unprepared(), classes, changes.pop("log_density", None))
        self.changes = changes

    def provided(self):
        return self.changes.get("provided", super().provided())

    def batch(self, split, index, source, device="cpu"):
        made = super().batch(split, index, source, device)
        return self.changes["batch"](made) if "batch" in self.changes else made

    @property
    def summary(self):
        return attrs.evolve(Data.summary.func(self), **self.changes.get("summary", {}))


class Odd(Preparation):
    """A preparation with odd statements."""

    def __init__(self, **statements):
        vars(self).update(statements)

    def __call__(self, raw, source):
        return raw.float()


def prepared(**statements):
    return Data("odd", {"train": Split(values=torch.rand(20, 2))}, Odd(**statements))


def labelled(change):
    return lambda made: attrs.evolve(made, condition=change(made.condition))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (Reading(splits={"train": examples(5), "last": examples(5)}), "expected no splits but .*seen last"),
        (prepared(bin_width=0.0), "bin_width: expected above 0"),
        (Reading(provided=()), r"provided\(\): expected the kind of its states"),
        (Reading(batch=lambda made: attrs.evolve(made, origin=made.origin.double())), "a batch: expected float32, seen torch.float64"),
        (Reading(batch=lambda made: attrs.evolve(made, origin=made.origin[:, :1])), r"a batch: expected the shape \[5, 2\], seen \[5, 1\]"),
        (prepared(states=Prior), "expected RealStates or BinaryStates, seen Prior"),
        (Reading(log_density=lambda values, _: values.double()), r"log_density: expected the shape \[5\], seen \[5, 2\]"),
        (Reading(log_density=lambda values, _: values.sum(1)), "log_density: expected float64"),
        (Reading(log_density=lambda values, _: values.double().sum(1) + len(values)), "log_density: expected rows that do not depend"),
        (Reading(classes=3, batch=labelled(lambda labels: labels.float())), r"labels: expected a LongTensor \[5\]"),
        (Reading(classes=3, batch=labelled(lambda labels: labels + 1)), r"labels: expected 0\.\.2, seen "),
        (Reading(summary={"shape": (3,)}), r"summary: expected the shape \[2\], seen \[3\]"),
        (Reading(summary={"mean": torch.zeros(3)}), r"summary.mean: expected the shape \[2\]"),
        (Reading(summary={"variance": torch.zeros(3)}), r"summary.variance: expected the shape \[2\]"),
        (Reading(summary={"variance": -torch.ones(2)}), "summary.variance: expected 0 or more"),
    ],
)  # fmt: skip
def test_datasets(data, message):
    check_dataset(Reading(classes=3))
    with fails(message):
        check_dataset(data)


# Distributions


class Short(Gaussian):
    def sample(self, source=None):
        return super().sample(source) / torch.zeros(())


class Summed(Gaussian):
    def log_prob(self, value):
        return super().log_prob(value).sum()


class Partial(Gaussian):
    def log_prob(self, value):
        return super().log_prob_elementwise(value).sum(1)

    def log_prob_elementwise(self, value):
        return super().log_prob_elementwise(value)[:, :1]


class Half(Gaussian):
    def log_prob(self, value):
        return super().log_prob(value).half()


class Wide(Gaussian):
    @property
    def mean(self):
        return self._mean[:, :1]


class Infinite(Gaussian):
    def rsample(self, source=None):
        return super().rsample(source) / torch.zeros(())

    def sample(self, source=None):
        return super().rsample(source).detach()


class Overfull(Bernoulli):
    """Its masses sum to more than 1."""

    def log_prob_elementwise(self, value):
        return super().log_prob_elementwise(value) + 0.1


@pytest.mark.parametrize(
    ("distribution", "message"),
    [
        (Short(torch.zeros(3, 2), torch.ones(3, 2)), "distribution.sample: expected finite numbers"),
        (Summed(torch.zeros(3, 2), torch.ones(3, 2)), r"distribution.log_prob: expected the shape \[3\], seen \[\]"),
        (Half(torch.zeros(3, 2), torch.ones(3, 2)), "distribution.log_prob: expected float32 or wider, seen torch.float16"),
        (Partial(torch.zeros(3, 2), torch.ones(3, 2)), r"log_prob_elementwise: expected the shape \[3, 2\], seen \[3, 1\]"),
        (Wide(torch.zeros(3, 2), torch.ones(3, 2)), r"distribution.mean: expected the shape \[3, 2\], seen \[3, 1\]"),
        (Infinite(torch.zeros(3, 2), torch.ones(3, 2)), "distribution.rsample: expected finite numbers"),
        (Overfull(torch.zeros(3, 2)), "summed over all values: expected agreement"),
    ],
)
def test_distributions(distribution, message):
    with fails(message):
        check_distribution(distribution)


# Estimators


class Stating(Estimator):
    """Says what it is told to say."""

    def __init__(self, **changes):
        self.changes, self.count = changes, 0

    def estimate(self, chain, process, examples):
        self.count += 1
        if "answer" in self.changes:
            return self.changes["answer"]
        data = examples.data
        sound = {
            "name": "zero",
            "value": 0.0,
            "meaning": "nothing",
            "examples": len(examples),
            "split": examples.split,
            "preparation": data.preparation.words,
            "dim": data.summary.dim,
            "seed": examples.seed,
        }
        changes = {name: value(self.count) if callable(value) else value for name, value in self.changes.items()}
        return Estimate(**{**sound, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"answer": 3.0}, "expected an instance of Estimate, seen float"),
        ({"value": float}, "expected the same value from the same seed, 1.0, seen 2.0"),
        ({"examples": 0}, "examples: expected 1 or more, seen 0"),
        ({"meaning": " "}, "meaning: expected words, seen nothing"),
        ({"bin_width": 0.5}, "bin_width: expected None, seen 0.5"),
    ],
)
def test_estimators(changes, message):
    with fails(message):
        check_estimator(Stating(**changes), tiny_chain(), TinyProcess(), tiny_data().examples("test", 3))


# Networks, operators, priors, schedules


class Pair(Network):
    """Two heads; setting the bias of the first changes the second, too."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 2)

    def forward(self, state, k, condition=None):
        head = self.linear(state)
        return head, 2 * head

    def bias_heads(self, biases):
        with torch.no_grad():
            self.linear.bias.copy_(biases[0])


class Frozen(Network):
    """Gives maps without a gradient."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 2)

    def forward(self, state, k, condition=None):
        return (self.linear(state).detach(),)

    def bias_heads(self, biases):
        """Not reached."""


def test_networks():
    with fails("bias_heads, a head left as it was"):
        check_network(Pair(), batch().origin, steps=3, heads=2)
    with fails("network, trained at k = 1: expected a loss with gradient, seen one without"):
        check_network(Frozen(), batch().origin, steps=3)


class NoDistribution(Kernel):
    def at(self, temperature=1.0):
        return torch.distributions.Normal(0, 1)


class Undistributed(TinyGaussian):
    def forward(self, state, k, condition=None):
        return NoDistribution()


def test_operators():
    with fails("operator at k = 1, at temperature 1: expected an instance of Distribution, seen Normal"):
        check_operator(Undistributed(3), batch().origin, steps=3)


class Drawn(Distribution):
    def sample(self, source=None):
        return torch.zeros(3, 2)


class Rowwise(Gaussian):
    """Its density knows how many rows there are."""

    def log_prob_elementwise(self, value):
        return super().log_prob_elementwise(value) + 0.01 * (len(value) == 1)


class Wrong(TinyPrior):
    def __init__(self, make):
        super().__init__()
        self.make = make

    def forward(self, rows):
        return self.make(self.zero.expand(rows, -1))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda zeros: Drawn(), r"prior\(3\): expected an instance of Density, seen Drawn"),
        (lambda zeros: Rowwise(zeros, torch.ones_like(zeros)), "log p of a row among others against the row alone"),
        (
            lambda zeros: Gaussian(zeros, torch.ones_like(zeros) * (2 if zeros.dtype == torch.float64 else 1)),
            "prior in float64 against float32: expected agreement",
        ),
    ],
)
def test_priors(make, message):
    with fails(message):
        check_prior(Wrong(make), (2,))


class Rigid(Schedule):
    """Has a parameter that its values do not depend on."""

    def __init__(self):
        super().__init__()
        self.start = nn.Parameter(torch.tensor(1.0))

    def values(self, steps):
        return torch.ones(steps, dtype=torch.float64)


def test_schedules():
    with fails("expected a gradient just where the schedule is learned, seen False"):
        check_schedule(Rigid(), 3)


# Objectives


class Yielding(Objective):
    """Changes the one loss of a walk."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def losses(self, chain, process, batch, *, source=None):
        for loss in TinyObjective().losses(chain, process, batch, source=source):
            yield self.change(loss)


class Steep(torch.autograd.Function):
    """Passes a value on, and no finite gradient back."""

    @staticmethod
    def forward(context, value):
        return value.clone()

    @staticmethod
    def backward(context, gradient):
        return gradient / 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda loss: loss.value, "objective, loss 1: expected an instance of Loss, seen Tensor"),
        (lambda loss: Loss(value=Steep.apply(loss.value)), "objective: expected finite gradients"),
        (lambda loss: Loss(value=loss.value, metrics={"n": torch.ones(2)}), r"loss 1, metric 'n': expected the shape \[\], seen \[2\]"),
        (lambda loss: Loss(value=loss.value, metrics={"n": 1.0}), "loss 1, metric 'n': expected an instance of Tensor, seen float"),
        (lambda loss: Loss(value=loss.value, metrics={"n": loss.value}), "loss 1, metric 'n': expected a detached number"),
        (
            lambda loss: Loss(value=loss.value / (1 - float(loss.value.dtype == torch.float64))),
            "objective, a loss in float64: expected finite numbers",
        ),
    ],
)
def test_objectives(change, message):
    with fails(message):
        check_objective(Yielding(change), tiny_chain(), TinyProcess(), batch())


# Processes


class Stepping(TinyProcess):
    """Changes each transition."""

    def __init__(self, change):
        super().__init__()
        self.change = change
        self.count = 0

    def walk(self, chain, batch, **more):
        self.count += 1
        for transition in super().walk(chain, batch, **more):
            yield self.change(self, transition)


def broken_when_wide(process, transition):
    wide = transition.state.dtype == torch.float64
    return attrs.evolve(transition, log_ratio=transition.log_ratio / 0) if wide else transition


def wavering(process, transition):
    """The same walk gives other states to begin with, the second time."""
    return attrs.evolve(transition, state=transition.state * (1 + (process.count > 1) * (transition.k == transition.steps)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda self, t: attrs.evolve(t, reverse=torch.ones(3)), "walk at k = 1: expected an instance of Distribution, seen Tensor"),
        (lambda self, t: attrs.evolve(t, state=t.state[:3]), r"process.walk at k = 1, state: expected the shape \[6, 2\], seen \[3, 2\]"),
        (wavering, "process.walk at k = 3: expected the same states from the same source"),
        (
            broken_when_wide,
            "process.walk at k = 1 in float64, log_ratio: expected finite numbers",
        ),
    ],
)  # fmt: skip
def test_processes(change, message):
    with fails(message):
        check_process(Stepping(change), tiny_chain(), batch())


class Visited(TinyProcess, RandomAccess):
    """Visits a step, and says what ``change`` makes of it."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def visit(self, chain, batch: Batch, k: int | Tensor, *, source=None, with_log_ratio=False):
        state = self.kernel(batch.origin).sample(source)
        reverse = chain.operator(state, k).at(1.0)
        share = reverse.log_prob(batch.origin)
        found = Transition(k=k, steps=3, state=state, previous=None, origin=batch.origin, reverse=reverse, log_ratio=share)
        return self.change(found)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda found: attrs.evolve(found, k=2), "process.visit: expected a transition at k = 1, seen 2"),
        (lambda found: attrs.evolve(found, log_ratio=None), "process.visit, log_ratio: expected an instance of Tensor, seen NoneType"),
    ],
)
def test_visits(change, message):
    with fails(message):
        check_process(Visited(change), tiny_chain(), batch())


# Components


@attrs.frozen(kw_only=True)
class Silent:
    pass


Silent.__doc__ = " "


@attrs.frozen(kw_only=True)
class Nothing:
    """Nothing to set."""


def test_components():
    with fails("prior mine, its config class: expected a docstring, seen none"):
        check_component("prior", Component(name="mine", config=Silent, build=lambda config, context: TinyPrior()), Host().registry)
    data = Component(name="mine", config=Nothing, build=lambda config, context: tiny_data(), provides=(BinaryStates,))
    with fails("dataset mine: expected states that are .*BinaryStates"):
        check_component("dataset", data, Host().registry)


def test_the_capabilities_that_these_objects_state_are_theirs():
    right = Gaussian(torch.zeros(3, 2), torch.ones(3, 2))
    assert all(isinstance(right, capability) for capability in (Density, HasMean, Reparametrised))
    assert issubclass(TinyPrior, Prior)
    assert tiny_data().preparation.states is RealStates
