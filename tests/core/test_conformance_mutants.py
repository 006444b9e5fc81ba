"""Every conformance check finds what it is there to find: objects broken in one way each fail with a message that says so."""

from __future__ import annotations

import math
import re
import types

import attrs
import pytest
import torch
from torch import nn

import chainkit
from chainkit.capabilities import Posteriors, RandomAccess
from chainkit.component import Component
from chainkit.distributions import Gaussian
from chainkit.errors import PluginError
from chainkit.estimator import Estimate, Estimator
from chainkit.host import Host
from chainkit.kernel import GaussianKernel, Kernel
from chainkit.network import Network
from chainkit.random import seeded
from chainkit.schedule import Schedule
from chainkit.states import per_row
from chainkit.testing import (
    TinyPrior,
    TinyProcess,
    check_component,
    check_decay,
    check_estimator,
    check_network,
    check_objective,
    check_observer,
    check_operator,
    check_optimizer,
    check_prior,
    check_process,
    check_schedule,
    tiny_chain,
    tiny_data,
)
from chainkit.testing.observer import check_observers
from chainkit.testing.parts import TinyObjective
from chainkit.testing.tiny import TinyGaussian
from chainkit.transition import Transition, log_ratio


def batch(rows=6):
    return tiny_data().batch("train", torch.arange(rows), None)


def fails(check, message):
    """The check raises, and its message has the parts where, expected and seen."""
    with pytest.raises(AssertionError, match=message) as error:
        check()
    assert re.search(r"^\w.*: expected .+, seen .+|^\w.*hooks that work", str(error.value), re.DOTALL), str(error.value)


# Operators


class Remembering(TinyGaussian):
    """Counts its evaluations in an attribute, which no checkpoint keeps."""

    def __init__(self, steps=3):
        super().__init__(steps)
        self.count = 0

    def forward(self, state, k, condition=None):
        self.count += self.training
        return super().forward(state + 0.1 * self.count * self.training, k, condition)


class Shaking(TinyGaussian):
    """Draws from torch's global generator while it trains."""

    def forward(self, state, k, condition=None):
        return super().forward(state + torch.rand_like(state) if self.training else state, k, condition)


class Lukewarm(Gaussian):
    """States the density of temperature 1."""

    def __init__(self, mean, variance, temperature):
        super().__init__(mean, variance * temperature)
        self.cold = Gaussian(mean, variance)

    def log_prob_elementwise(self, value):
        return self.cold.log_prob_elementwise(value)


class LukewarmKernel(Kernel):
    def __init__(self, mean, variance):
        self.mean, self.variance = mean, variance

    def at(self, temperature=1.0):
        return Lukewarm(self.mean, self.variance, temperature)


class Cooling(TinyGaussian):
    def forward(self, state, k, condition=None):
        kernel = super().forward(state, k, condition)
        return LukewarmKernel(kernel.mean, kernel.variance)


class Unkernel(TinyGaussian):
    def forward(self, state, k, condition=None):
        return super().forward(state, k, condition).at(1.0)


class Exploding(TinyGaussian):
    """Has a gradient that is not finite."""

    def forward(self, state, k, condition=None):
        kernel = super().forward(state, k, condition)
        return GaussianKernel(kernel.mean + (self.slope[0] - self.slope[0].detach()).abs().sqrt(), kernel.variance)


class Sociable(TinyGaussian):
    """Its draws, not its density, look at the other rows."""

    def forward(self, state, k, condition=None):
        kernel = super().forward(state, k, condition)
        return LoosKernel(kernel.mean, kernel.variance)


class LoosKernel(GaussianKernel):
    def at(self, temperature=1.0):
        return Loose(self.mean, self.variance * temperature)


class Loose(Gaussian):
    def sample(self, source=None):
        return super().sample(source).flip(0) if len(self.mean) > 1 else super().sample(source)


@pytest.mark.parametrize(
    ("operator", "message"),
    [
        (Remembering(3), "operator, trained, saved, loaded .*the numbers of training that never stopped, seen another gradient of .*slope"),
        (Shaking(3), "operator at k = 1, trained: expected no draws from torch's global generator"),
        (Cooling(3), "operator at k = 3, at temperature 2.*as the density of the draws"),
        (Unkernel(3), "operator at k = 1: expected an instance of Kernel, seen Gaussian"),
        (Exploding(3), r"-log p\(s_0 \| s_1\): expected finite gradients"),
        (nn.Linear(2, 2), "operator: expected an instance of TransitionOperator, seen Linear"),
    ],
)
def test_operators(operator, message):
    fails(lambda: check_operator(operator, batch().origin, steps=3), message)


def test_operators_whose_draws_depend_on_the_rows_beside_them():
    same = batch().origin[:1].expand(6, -1)
    check_operator(TinyGaussian(3), same, steps=3)
    fails(lambda: check_operator(Sociable(3), same, steps=3), "a draw among others against the draw alone")


# Networks


class Line(Network):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.count = 0

    def forward(self, state, k, condition=None):
        return (self.linear(self.before(state)),)

    def before(self, state):
        return state

    def bias_heads(self, biases):
        with torch.no_grad():
            self.linear.bias.copy_(biases[0])


class Dropping(Line):
    def before(self, state):
        return nn.functional.dropout(state, 0.5, self.training)


class Ageing(Line):
    def before(self, state):
        self.count += self.training
        return state + self.count * self.training


class Flat(Line):
    def forward(self, state, k, condition=None):
        return (self.linear(state).flatten(),)


class Overflowing(Line):
    """Is not finite in bfloat16."""

    def before(self, state):
        return state / (1 - torch.is_autocast_enabled("cpu"))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Dropping(), "network, trained at k = 1: expected no draws from torch's global generator"),
        (Ageing(), "network, trained, saved, loaded .*the numbers of training that never stopped"),
        (Flat(), r"network, a head at k = 1: expected the shape \[6, 2\], seen \[12\]"),
        (Overflowing(), "network under bfloat16 autocast: expected finite numbers"),
    ],
)
def test_networks(network, message):
    check_network(Line(), batch().origin, steps=3)
    fails(lambda: check_network(network, batch().origin, steps=3), message)


# Processes


class Visiting(TinyProcess, RandomAccess, Posteriors):
    """The tiny process with all that it could state, each part right unless a mutant changes it."""

    keep = 0.8

    def marginal(self, origin, k):
        power = per_row(self.keep ** torch.as_tensor(k).double(), origin).to(origin.dtype)
        return Gaussian(power * origin, (1 - power.square()).expand_as(origin))

    def posterior(self, state, origin, k):
        before = self.marginal(origin, k - 1)
        precision = 0.64 / 0.36 + 1 / before.variance
        return Gaussian((0.8 * state / 0.36 + before.mean / before.variance) / precision, 1 / precision)

    def visit(self, chain, batch, k, *, source=None, with_log_ratio=False):
        index = torch.as_tensor(k).expand(batch.rows)
        earlier = self.marginal(batch.origin, (index - 1).clamp(min=1)).sample(source)
        previous = torch.where(per_row(index, batch.origin) == 1, batch.origin, earlier)
        forward = self.kernel(previous)
        state = forward.sample(source)
        reverse = chain.operator(state, k, batch.condition).at(1.0)
        share = log_ratio(reverse, previous, forward, state)
        share = share + (index == chain.steps) * chain.prior(batch.rows).log_prob(state)
        return Transition(
            k=k, steps=chain.steps, state=state, previous=previous, origin=batch.origin, reverse=reverse, log_ratio=self.share(share)
        )

    def share(self, share):
        return share


class Generous(Visiting):
    def share(self, share):
        return share + 0.1


class Hasty(Visiting):
    keep = 0.7


class Sharp(Visiting):
    """Its posterior is too narrow; its mean is right."""

    def posterior(self, state, origin, k):
        right = super().posterior(state, origin, k)
        return Gaussian(right.mean, 0.7 * right.variance)


class Busy(Visiting):
    def visit(self, chain, batch, k, **more):
        chain.operator(batch.origin, k)
        return super().visit(chain, batch, k, **more)


class Changing(TinyProcess):
    """Changes the transitions of a walk."""

    def __init__(self, change):
        super().__init__()
        self.change = change
        self.count = 0

    def walk(self, chain, batch, *, source=None, **more):
        self.count += 1
        for transition in super().walk(chain, batch, source=source, **more):
            yield self.change(self, transition)


def louder(process, transition):
    return attrs.evolve(transition, log_ratio=None if transition.log_ratio is None else transition.log_ratio + 0.1)


def turned(process, transition):
    return attrs.evolve(transition, log_ratio=None if transition.log_ratio is None else 20 - 7 * transition.log_ratio)


def restless(process, transition):
    return attrs.evolve(transition, state=transition.state + process.count)


def drawing(process, transition):
    torch.rand(())
    return transition


def narrow(process, transition):
    return attrs.evolve(transition, state=transition.state.float())


def fragile(process, transition):
    share = transition.log_ratio
    return attrs.evolve(transition, log_ratio=share / 0 if share is not None and torch.is_autocast_enabled("cpu") else share)


def ready(process, transition):
    return attrs.evolve(transition, log_ratio=torch.zeros(len(transition.state)))


def longer(process, transition):
    return attrs.evolve(transition, steps=transition.steps + 1)


class Wearing(TinyProcess):
    """Its noise depends on how often it has walked."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def walk(self, chain, batch, *, source=None, **more):
        self.count += self.training and source is not None and not more
        for transition in super().walk(chain, batch, source=source, **more):
            reverse = Gaussian(transition.reverse.mean * (1 + (self.count > 4)), transition.reverse.variance)
            yield attrs.evolve(transition, reverse=reverse)


@pytest.mark.parametrize(
    ("process", "message"),
    [
        (Changing(louder), r"log E\[w\]: expected log p\(x\) by draws of the chain = .* within 5 standard errors, seen .* off by"),
        (Changing(turned), r"E\[log w\] where above: expected log p\(x\) by draws"),
        (Changing(restless), "previous to be the state at 1|the same states from the same source"),
        (Changing(drawing), "process.walk: expected no draws from torch's global generator"),
        (Changing(narrow), "in float64: expected a state and a log_ratio in float64"),
        (Changing(fragile), "under bfloat16 autocast, log_ratio: expected finite numbers"),
        (Changing(ready), "process.walk without log_ratio: expected None, seen a log_ratio"),
        (Changing(longer), "process.walk at k = 1: expected steps = 3, seen 4"),
        (Wearing(), "process, trained, saved, loaded .*the numbers of training that never stopped"),
        (Generous(), "process.visit, log_ratio summed over k, against log w of walks: expected the same mean"),
        (Hasty(), "process.visit, log_ratio summed over k|process.marginal at k = 1, against the states of walks"),
        (Sharp(), "process.posterior at k = 3, averaged over s_k, against the marginal at 2"),
        (Busy(), "process.visit: expected one evaluation of the operator, seen 2"),
    ],
)
def test_processes(process, message):
    fails(lambda: check_process(process, tiny_chain(), batch()), message)


def test_a_process_whose_log_w_cannot_be_tested_is_said_to_be_untested():
    far = attrs.evolve(batch(), origin=batch().origin + 100)
    with pytest.warns(UserWarning, match="log w is not tested, too few draws of the chain"):
        check_process(TinyProcess(), tiny_chain(), far)


def test_right_processes_pass_without_an_exact_probability():
    check_process(TinyProcess(), tiny_chain(), batch())
    check_process(Visiting(), tiny_chain(), batch(), exact=tiny_chain().log_prob(batch().origin))


class Misstated(Visiting):
    """The marginal alone is wrong: visits draw from the right one."""

    def marginal(self, origin, k):
        right = super().marginal(origin, k)
        return Gaussian(right.mean, 1.3 * right.variance) if len(origin) == 6 else right


def test_a_marginal_is_held_against_the_states_of_walks():
    fails(
        lambda: check_process(Misstated(), tiny_chain(), batch()), "process.marginal at k = 1, against the states of walks.*as the density"
    )


# Objectives


class Loss(TinyObjective):
    """Changes the loss of a step."""

    def __init__(self, change):
        super().__init__()
        self.change = change
        self.count = 0

    def loss(self, transition):
        self.count += 1
        return self.change(self, super().loss(transition))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda self, loss: loss.mean(), r"objective.loss, step 1 of a walk: expected the shape \[6\], seen \[\]"),
        (lambda self, loss: loss - 0.5 * loss.mean(), "an example among others against the example alone"),
        (lambda self, loss: loss.float(), "objective, a loss in float64: expected float64, seen torch.float32"),
        (lambda self, loss: loss.bfloat16() if torch.is_autocast_enabled("cpu") else loss, "under bfloat16 autocast: expected float32"),
        (lambda self, loss: loss / (1 - torch.is_autocast_enabled("cpu")), "under bfloat16 autocast: expected finite numbers"),
        (lambda self, loss: loss * (1 + self.count * torch.is_grad_enabled()), "the same losses from the same source"),
        (lambda self, loss: loss + 0 * torch.rand(()), "objective.losses: expected no draws from torch's global generator"),
    ],
)
def test_objectives(change, message):
    fails(lambda: check_objective(Loss(change), tiny_chain(), TinyProcess(), batch()), message)


class Patient(TinyObjective):
    """Learns a level, and counts its batches in an attribute, which no checkpoint keeps."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def losses(self, chain, process, batch, *, source=None):
        self.count += 1
        for loss in super().losses(chain, process, batch, source=source):
            yield chainkit.Loss(value=loss.value * (1 + (self.count > 4)))


def test_an_objective_that_forgets_when_it_is_resumed():
    message = "objective, trained, saved, loaded .*the numbers of training that never stopped, seen .*another gradient of chain.operator"
    fails(lambda: check_objective(Patient(), tiny_chain(), TinyProcess(), batch()), message)


# Priors, schedules, estimators, optimisers, decays


class Learned(TinyPrior):
    def __init__(self, forgets=False, draws=False):
        super().__init__()
        self.level = nn.Parameter(torch.zeros(2))
        self.forgets, self.draws, self.count = forgets, draws, 0

    def forward(self, rows):
        if self.draws:
            torch.rand(())
        self.count += self.training and self.forgets and torch.is_grad_enabled()
        return Gaussian(self.zero.expand(rows, -1) + self.level * (1 + self.count), torch.ones(rows, 2, dtype=self.zero.dtype))


class Fixed(TinyPrior):
    def forward(self, rows):
        return Gaussian(torch.zeros(rows, 2), torch.ones(rows, 2))


def test_priors():
    check_prior(Learned(), (2,))
    fails(lambda: check_prior(Learned(forgets=True), (2,)), "prior, trained, saved, loaded .*the numbers of training that never stopped")
    fails(lambda: check_prior(Learned(draws=True), (2,)), "prior: expected no draws from torch's global generator")
    fails(lambda: check_prior(Fixed(), (2,)), "prior in float64: expected float64, seen torch.float64, draws torch.float32")


class Slope(Schedule):
    """A learned schedule; ``lag`` lets it look back at parameters that are gone."""

    def __init__(self, lag=0.0, half=False):
        super().__init__()
        self.start = nn.Parameter(torch.tensor(1.0))
        self.lag, self.half = lag, half
        self.seen = self.before = torch.tensor(1.0)

    def values(self, steps):
        if not torch.equal(self.seen, self.start.detach()):
            self.before, self.seen = self.seen, self.start.detach().clone()
        values = (self.start + self.lag * self.before) * torch.arange(1, steps + 1)
        return values.half() if self.half else values


def test_schedules():
    check_schedule(Slope(), 3)
    fails(lambda: check_schedule(Slope(lag=0.5), 3), "schedule, trained, saved, loaded .*the numbers of training that never stopped")
    fails(lambda: check_schedule(Slope(half=True), 3), "expected float32 or float64, seen torch.float16")


@attrs.frozen
class FirstExample(Estimator):
    """A figure of whichever example comes first."""

    def estimate(self, chain, process, examples):
        data = examples.data
        return Estimate(
            name="first",
            value=float(examples.index[0]),
            meaning="nothing",
            examples=len(examples),
            split=examples.split,
            preparation=data.preparation.words,
            dim=data.summary.dim,
            seed=examples.seed,
        )


def test_estimators():
    examples = tiny_data().examples("test", 5)
    fails(lambda: check_estimator(FirstExample(), tiny_chain(), TinyProcess(), examples), "does not depend on the order of the examples")


class Forgetting(torch.optim.SGD):
    """Its rate shrinks with a count that is not in its state."""

    count = 0

    def step(self, closure=None):
        self.count += 1
        for group in self.param_groups:
            group["lr"] = 0.1 / self.count
        return super().step(closure)


def test_optimizers_and_decays():
    fails(lambda: check_optimizer(lambda parameters: Forgetting(parameters, lr=0.1)), "the same updates after its state is restored")
    fails(lambda: check_optimizer(lambda parameters: nn.Linear(1, 1)), "expected an instance of Optimizer, seen Linear")
    counts = iter(range(10**6))
    fails(lambda: check_decay(lambda update, updates: 1 / (1 + next(counts))), "the same factor every time")
    fails(lambda: check_decay(lambda update, updates: 0.0), "some update with a factor above 0, seen none")


# Observers


def observing(**hooks):
    return lambda: types.SimpleNamespace(**{name: chainkit.hookimpl(function) for name, function in hooks.items()})


def meddle(run):
    with torch.no_grad():
        run.chain.operator.slope.add_(1e-3)


def fail(run):
    raise ValueError("no luck")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (observing(chainkit_epoch_end=meddle), "run that is watched: expected the weights of one that is not, seen others"),
        (observing(chainkit_checkpoint_load=lambda run, state: meddle(run)), "a run that is watched, stopped and resumed: expected"),
        (observing(chainkit_run_start=fail), "hooks that work, seen .*chainkit_run_start raised ValueError: no luck"),
        (observing(chainkit_checkpoint_save=lambda run: {1, 2}), "hooks that work, seen .*returned a set, not a table of JSON data"),
        (observing(chainkit_checkpoint_load=lambda run, state: state["mine"]), "hooks that work, seen .*TypeError: 'NoneType'"),
        (observing(chainkit_checkpoint_save=lambda run: {"x": math.nan}), "hooks that work, seen .*no JSON data"),
        (observing(chainkit_checkpoint_save=lambda run: {1: 2}), "hooks that work, seen .*JSON gives back changed"),
        (observing(chainkit_epoch_and=lambda run: None), "hooks that work, seen there is no hook 'chainkit_epoch_and'"),
        (observing(chainkit_epoch_end=lambda runn: None), "hooks that work, seen Plugin .* for hook 'chainkit_epoch_end'"),
        (observing(), "observer: expected a lifecycle hook or more, seen none"),
    ],
)  # fmt: skip
def test_observers(make, message):
    fails(lambda: check_observers(make), message)


def test_an_observer_that_watches_passes():
    seen = []
    check_observer(observing(chainkit_run_end=lambda run: seen.append(run.update))())
    assert seen == [4, 4]


# Components


@attrs.frozen(kw_only=True)
class Nothing:
    """Nothing to set."""


def build_learned(config, context):
    return Learned(forgets=True)


def test_the_failure_of_a_component_says_what_builds_it():
    component = Component(name="mine", config=Nothing, build=build_learned)
    said = rf"^prior mine, trained, .*; it is built by {re.escape(build_learned.__module__)}:build_learned$"
    fails(lambda: check_component("prior", component, Host().registry), said)


def test_a_plugin_error_of_a_component_is_none_of_the_check():
    def build(config, context):
        raise PluginError("no licence")

    with pytest.raises(PluginError, match="no licence"):
        check_component("prior", Component(name="mine", config=Nothing, build=build), Host().registry)


def test_draws_are_repeatable_where_they_say_so():
    assert torch.equal(TinyPrior()(3).sample(seeded("cpu", 1)), TinyPrior()(3).sample(seeded("cpu", 1)))
