"""The testing kit: the tiny chain is exact, and every check fails on what it is there to find."""

from __future__ import annotations

import copy
import math

import attrs
import pytest
import torch
from torch import nn

from chainkit.capabilities import Density, RealStates
from chainkit.chain import Chain
from chainkit.component import Component
from chainkit.data import Data, Split
from chainkit.distributions import Bernoulli, Gaussian, Infused, Wrapped
from chainkit.estimator import Estimate, Estimator
from chainkit.host import Host
from chainkit.kernel import GaussianKernel
from chainkit.network import Network
from chainkit.objective import LocalObjective, Loss, Objective
from chainkit.preparation import Preparation
from chainkit.schedule import Schedule
from chainkit.testing import (
    TinyOperator,
    TinyPrior,
    TinyProcess,
    check_component,
    check_dataset,
    check_decay,
    check_distribution,
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
from chainkit.testing.tiny import TinyGaussian

pytest_plugins = ["chainkit.testing.fixtures"]

both_states = pytest.mark.parametrize("binary", [False, True], ids=["real", "binary"])


def batch(data, rows=6):
    return data.batch("train", torch.arange(rows), None)


class Doubling(Schedule):
    def values(self, steps):
        return 2.0 ** torch.arange(steps, dtype=torch.float64)


# What is right passes.


@both_states
def test_the_tiny_chain_keeps_the_promises_of_every_kind(binary):
    chain, data, process = tiny_chain(binary=binary), tiny_data(binary=binary), TinyProcess(binary=binary)
    examples = batch(data)
    check_dataset(data)
    check_prior(chain.prior, data.shape)
    check_operator(chain.operator, examples.origin, steps=chain.steps)
    check_process(process, chain, examples, exact=chain.log_prob(examples.origin))
    check_objective(Reconstruction(), chain, process, examples)


@both_states
def test_the_probability_of_the_tiny_chain_is_exact_at_every_temperature(binary):
    chain = tiny_chain((1,), binary=binary)
    chain.temperature = Doubling()
    examples = batch(tiny_data((1,), binary=binary))
    check_process(TinyProcess(binary=binary), chain, examples, exact=chain.log_prob(examples.origin))


@both_states
def test_the_tiny_chain_draws_what_its_probability_says(binary):
    chain = tiny_chain((1,), binary=binary).double()
    generator = torch.Generator().manual_seed(0)
    drawn = chain.sample(20_000, source=generator).state
    if binary:
        expected = chain.log_prob(torch.ones(1, 1, dtype=torch.float64)).exp()
        assert abs(drawn.mean() - expected) < 4 * 0.5 / math.sqrt(len(drawn))
    else:
        grid = torch.linspace(-10, 10, 4001, dtype=torch.float64)[:, None]
        density = chain.log_prob(grid).exp()
        mean = torch.trapezoid(density * grid[:, 0], grid[:, 0])
        assert float(torch.trapezoid(density, grid[:, 0])) == pytest.approx(1)
        assert abs(drawn.mean() - mean) < 4 * drawn.std() / math.sqrt(len(drawn))


@pytest.mark.parametrize(
    "make",
    [
        lambda mean, width: Gaussian(mean, width.exp()),
        lambda mean, width: Bernoulli(mean * 3),
        lambda mean, width: Infused(Gaussian(mean, width.exp()), Gaussian(mean.detach() + 1, torch.full_like(mean, 1e-3)), 0.3),
        lambda mean, width: Wrapped(torch.distributions.StudentT(torch.full_like(mean, 8.0), mean, width.exp())),
        lambda mean, width: Wrapped(torch.distributions.Independent(torch.distributions.Bernoulli(logits=mean), 1)),
    ],
    ids=["gaussian", "bernoulli", "infused", "student", "wrapped bits"],
)
def test_right_distributions_pass(make):
    mean, width = (torch.linspace(-1, 1, 6).view(3, 2) * scale for scale in (1, 0.5))
    check_distribution(make(mean.requires_grad_(), width.requires_grad_()), parameters=[mean, width])


# What is wrong fails, and says so.


class Unnormalised(Gaussian):
    def log_prob_elementwise(self, value):
        return super().log_prob_elementwise(value) + 0.1


class Wider(Gaussian):
    def sample(self, source=None):
        return self.mean.detach() + 1.15 * (super().sample(source) - self.mean.detach())


class Misplaced(Gaussian):
    def log_prob_elementwise(self, value):
        return Gaussian(self.mean + 0.2, self.variance).log_prob_elementwise(value)


class Attached(Gaussian):
    def sample(self, source=None):
        return self.rsample(source)


class Restless(Gaussian):
    def sample(self, source=None):
        return super().sample(None)


class Shifted(Gaussian):
    @property
    def mean(self):
        return self._mean + 0.1


class Unequal(Gaussian):
    def log_prob(self, value):
        return super().log_prob(value) * 1.01


class Blunt(Gaussian):
    def rsample(self, source=None):
        return self.sample(source)


class Halved(Gaussian):
    def rsample(self, source=None):
        return self.mean.detach() + super().rsample(source) - self.mean + 0.5 * (self.mean - self.mean.detach())


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Unnormalised, "as the density of the draws"),
        (Wider, "as the density of the draws"),
        (Misplaced, "as the density of the draws"),
        (Attached, "detached"),
        (Restless, "same draws from the same source"),
        (Shifted, "mean, against draws"),
        (Unequal, "the sum of log_prob_elementwise"),
        (Blunt, "a draw with gradient"),
        (Halved, "its gradient against that of the mean"),
    ],
)
def test_wrong_distributions_fail(kind, message):
    mean = torch.linspace(-1, 1, 6).view(3, 2).requires_grad_()
    with pytest.raises(AssertionError, match=message):
        check_distribution(kind(mean, torch.ones(3, 2)), parameters=[mean])


class WrongBits(Bernoulli):
    def log_prob_elementwise(self, value):
        return Bernoulli(self.logits * 1.2).log_prob_elementwise(value)


class Mistaken(Density):
    """Draws from one distribution and gives the density of another."""

    def __init__(self, drawn, stated):
        self.drawn = Wrapped(drawn)
        self.stated = Wrapped(stated)

    def sample(self, source=None):
        return self.drawn.sample(source)

    def log_prob(self, value):
        return self.stated.log_prob(value)


def correlated(place=0.0, width=1.0):
    scale = width * torch.tensor([[1.0, 0.0], [0.9, 0.3]])
    return torch.distributions.MultivariateNormal(torch.full((4, 2), place), scale_tril=scale)


def independent_bits(logit):
    return torch.distributions.Independent(torch.distributions.Bernoulli(logits=torch.full((4, 2), logit)), 1)


@pytest.mark.parametrize(
    ("drawn", "stated"),
    [
        (correlated(), correlated(width=1.1)),
        (correlated(), correlated(place=0.2)),
        (correlated(), torch.distributions.Independent(torch.distributions.Normal(torch.zeros(4, 2), 0.95), 1)),
        (independent_bits(1.0), independent_bits(1.4)),
    ],
    ids=["width", "place", "dependence", "bits"],
)
def test_densities_that_are_no_products_are_compared_with_their_draws(drawn, stated):
    check_distribution(Mistaken(drawn, drawn))
    with pytest.raises(AssertionError, match=r"as the (density|mass) of the draws"):
        check_distribution(Mistaken(drawn, stated))


def test_masses_of_bits_are_compared_with_their_draws():
    with pytest.raises(AssertionError, match="as the mass of the draws"):
        check_distribution(WrongBits(torch.linspace(-2, 2, 6).view(3, 2)))


class Mixing(TinyGaussian):
    """Looks at the other rows."""

    def forward(self, state, k, condition=None):
        return super().forward(state - state.mean(0), k, condition)


class Narrow(TinyGaussian):
    """Leaves its parameters in bfloat16 under autocast."""

    def forward(self, state, k, condition=None):
        mean = nn.functional.linear(state, torch.eye(state.shape[1], dtype=state.dtype)) * self.slope[0]
        return GaussianKernel(mean, torch.ones_like(mean))


class OnlyInts(TinyGaussian):
    """Takes the first row's step for all."""

    def forward(self, state, k, condition=None):
        return super().forward(state, int(k[0]) if isinstance(k, torch.Tensor) else k, condition)


class Single(TinyGaussian):
    """Computes in float32 whatever it is given."""

    def forward(self, state, k, condition=None):
        kernel = super().forward(state, k, condition)
        return GaussianKernel(kernel.mean.float(), kernel.variance.float())


class Constant(TinyGaussian):
    """Has nothing to learn."""

    def forward(self, state, k, condition=None):
        return GaussianKernel(state + 0 * self.slope.sum(), torch.ones_like(state))


class Forgetful(TinyGaussian):
    """Depends on what its state_dict lacks."""

    def __init__(self, steps):
        super().__init__(steps)
        self.register_buffer("hidden", torch.zeros(()), persistent=False)

    def forward(self, state, k, condition=None):
        return super().forward(state + self.hidden, k, condition)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Mixing, "among others"),
        (Narrow, "bfloat16 autocast: expected float32"),
        (OnlyInts, "a row among others"),
        (Single, "in float64"),
        (Constant, "a gradient to some parameter"),
        (Forgetful, "state_dict round trip"),
    ],
)
def test_wrong_operators_fail(kind, message):
    with pytest.raises(AssertionError, match=message):
        check_operator(kind(3), batch(tiny_data()).origin, steps=3)


class Line(Network):
    """Two heads from one linear layer."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 4)

    def forward(self, state, k, condition=None):
        return self.linear(state).chunk(2, 1)

    def bias_heads(self, biases):
        with torch.no_grad():
            for own, bias in zip(self.linear.bias.view(2, 2), biases, strict=True):
                if bias is not None:
                    own.copy_(bias)


class Deaf(Line):
    def bias_heads(self, biases):
        pass


class Swapped(Line):
    def bias_heads(self, biases):
        super().bias_heads(biases[::-1])


def test_networks_are_checked_for_their_heads_and_their_biases():
    state = batch(tiny_data()).origin
    check_network(Line(), state, steps=3, heads=2)
    with pytest.raises(AssertionError, match="a tuple of 3 heads"):
        check_network(Line(), state, steps=3, heads=3)
    for wrong in (Deaf, Swapped):
        with pytest.raises(AssertionError, match="bias_heads"):
            check_network(wrong(), state, steps=3, heads=2)


class Evaluating(TinyProcess):
    """Evaluates twice per state."""

    def walk(self, chain, batch, **more):
        for transition in super().walk(chain, batch, **more):
            chain.operator(transition.state, transition.k)
            yield transition


class Short(TinyProcess):
    """Leaves out the last step."""

    def walk(self, chain, batch, **more):
        yield from list(super().walk(chain, batch, **more))[:-1]


class Clinging(TinyProcess):
    """Hands out states with gradient."""

    def walk(self, chain, batch, **more):
        for transition in super().walk(chain, batch, **more):
            yield attrs.evolve(transition, state=transition.state + 0 * chain.operator.slope.sum())


class Unconnected(TinyProcess):
    """Does not train on the walk that it draws."""

    def walk(self, chain, batch, **more):
        for transition in super().walk(chain, batch, **more):
            yield attrs.evolve(transition, previous=transition.previous + 1)


class Ratio(TinyProcess):
    """Gets log w wrong by what ``change`` makes of it."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def walk(self, chain, batch, **more):
        for transition in super().walk(chain, batch, **more):
            share = transition.log_ratio
            yield attrs.evolve(transition, log_ratio=None if share is None else self.change(share))


@pytest.mark.parametrize(
    ("process", "message"),
    [
        (Evaluating(), "3 evaluations of the operator, or 4, seen 6"),
        (Short(), "each k in 1..3 once"),
        (Clinging(), "detached"),
        (Unconnected(), "previous to be"),
        (Ratio(lambda share: share + 0.1), "log E"),
        (Ratio(lambda share: share + share.mean()), "among others"),
        (Ratio(lambda share: share * float("nan")), "finite"),
    ],
)
def test_wrong_processes_fail(process, message):
    chain, examples = tiny_chain(), batch(tiny_data())
    with pytest.raises(AssertionError, match=message):
        check_process(process, chain, examples, exact=chain.log_prob(examples.origin))


class Reconstruction(LocalObjective):
    def loss(self, transition):
        return -transition.reverse.log_prob(transition.previous)


class Scaled(Reconstruction):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def loss(self, transition):
        return super().loss(transition) * self.factor


class Detached(Reconstruction):
    def loss(self, transition):
        return super().loss(transition).detach()


class Silent(Objective):
    def losses(self, chain, process, batch, *, source=None):
        yield from ()


class Counting(Reconstruction):
    """Its loss depends on how many batches it has seen."""

    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def loss(self, transition):
        self.seen += 1
        return super().loss(transition) * self.seen


def test_an_objective_may_have_state_of_its_own():
    check_objective(Counting(), tiny_chain(), TinyProcess(), batch(tiny_data()))


class Misnamed(Reconstruction):
    def losses(self, *arguments, **more):
        for loss in super().losses(*arguments, **more):
            yield Loss(value=loss.value, parameters="critic")


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (Scaled(float("inf")), "finite"),
        (Scaled(0), "a gradient to some parameter"),
        (Detached(), "a loss with gradient"),
        (Silent(), "one loss or more"),
        (Misnamed(), "one of the parameter sets model"),
    ],
)
def test_wrong_objectives_fail(objective, message):
    with pytest.raises(AssertionError, match=message):
        check_objective(objective, tiny_chain(), TinyProcess(), batch(tiny_data()))


class Wrong(Schedule):
    def __init__(self, make):
        super().__init__()
        self.make = make

    def values(self, steps):
        return self.make(steps)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda steps: torch.ones(steps + 1, dtype=torch.float64), "the shape"),
        (lambda steps: torch.ones(steps), "float64"),
        (lambda steps: torch.full((steps,), float("nan"), dtype=torch.float64), "finite"),
        (lambda steps: torch.rand(steps, dtype=torch.float64), "the same numbers"),
    ],
)
def test_wrong_schedules_fail(make, message):
    check_schedule(Doubling(), 3)
    with pytest.raises(AssertionError, match=message):
        check_schedule(Wrong(make), 3)


class Together(TinyPrior):
    """Its rows share one draw."""

    def forward(self, rows):
        shift = torch.arange(rows).float()[:, None]
        return Gaussian(self.zero.expand(rows, -1) + shift * (rows > 1), torch.ones(rows, 2, dtype=self.zero.dtype))


def test_wrong_priors_fail():
    with pytest.raises(AssertionError, match="among others"):
        check_prior(Together(), (2,))
    with pytest.raises(AssertionError, match="the shape"):
        check_prior(TinyPrior((3,)), (2,))


class Prepared(Preparation):
    def __init__(self, prepare, **fields):
        self.prepare = prepare
        for name, value in fields.items():
            setattr(self, name, value)

    def __call__(self, raw, source):
        return self.prepare(raw)


@pytest.mark.parametrize(
    ("preparation", "message"),
    [
        (Prepared(lambda raw: raw / 0), "finite"),
        (Prepared(lambda raw: raw - raw.mean()), "batch-mates"),
        (Prepared(lambda raw: raw + torch.rand(())), "same preparation"),
        (Prepared(lambda raw: raw.float(), words=" "), "what is done to the data"),
        (Prepared(lambda raw: raw.float() / 2, states=tiny_data(binary=True).preparation.states), "zeros and ones"),
    ],
)
def test_wrong_datasets_fail(preparation, message):
    values = torch.arange(40.0).view(20, 2)
    with pytest.raises(AssertionError, match=message):
        check_dataset(Data("wrong", {"train": Split(values=values)}, preparation))


class Reporting(Estimator):
    """Says what ``change`` makes of a sound estimate."""

    def __init__(self, change=lambda estimate, chain: estimate):
        self.change = change

    def estimate(self, chain, process, examples):
        data = examples.data
        estimate = Estimate(
            name="zero",
            value=0.0,
            meaning="nothing",
            examples=len(examples),
            split=examples.split,
            preparation=data.preparation.words,
            dim=data.summary.dim,
            seed=examples.seed,
        )
        return self.change(estimate, chain)


def heated(estimate, chain):
    with torch.no_grad():
        chain.operator.slope.add_(1)
    return estimate


def put_to_sleep(estimate, chain):
    chain.eval()
    return estimate


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda estimate, chain: attrs.evolve(estimate, value=float("nan")), "value: expected a finite number"),
        (lambda estimate, chain: attrs.evolve(estimate, error_walks=-1.0), "error_walks: expected 0 or more"),
        (lambda estimate, chain: attrs.evolve(estimate, preparation="other"), "preparation"),
        (lambda estimate, chain: attrs.evolve(estimate, value=float(torch.rand(()))), "global generator"),
        (heated, "left as it was"),
        (put_to_sleep, "in the mode"),
    ],
)
def test_wrong_estimators_fail(change, message):
    examples = tiny_data().examples("test", 5)
    check_estimator(Reporting(), tiny_chain(), TinyProcess(), examples)
    with pytest.raises(AssertionError, match=message):
        check_estimator(Reporting(change), tiny_chain(), TinyProcess(), examples)


def test_wrong_optimizers_and_decays_fail():
    check_optimizer(lambda parameters: torch.optim.Adam(parameters, lr=0.1))
    with pytest.raises(AssertionError, match="a loss below"):
        check_optimizer(lambda parameters: torch.optim.SGD(parameters, lr=0.1, maximize=True))
    check_decay(lambda update, updates: 1 - update / updates)
    with pytest.raises(AssertionError, match="a factor in"):
        check_decay(lambda update, updates: 1 + update / updates)


def test_observers_without_hooks_fail():
    with pytest.raises(AssertionError, match="a lifecycle hook or more"):
        check_observer(object())


# Components.


@attrs.frozen(kw_only=True)
class TinyConfig:
    """The tiny prior.

    Arguments:
        width: Nothing.
    """

    width: float = 1.0


@attrs.frozen(kw_only=True)
class UndocumentedConfig:
    """The tiny prior."""

    width: float = 1.0


def prior_component(config=TinyConfig, **more):
    return Component(name="tiny", config=config, build=lambda config, context: TinyPrior(context.data.shape), **more)


def test_a_component_is_built_from_its_example_and_checked():
    check_component("prior", prior_component(example={"width": 2.0}, needs={"dataset": (RealStates,)}), Host().registry)


@pytest.mark.parametrize(
    ("component", "message"),
    [
        (prior_component(example={"with": 2.0}), "its example cannot be read: .*with"),
        (prior_component(UndocumentedConfig), "nothing on width"),
        (prior_component(provides=(Network,)), "the stated capability Network"),
        (prior_component(needs={"operator": (Network,)}), "components that give it what it needs"),
    ],
)
def test_wrong_components_fail(component, message):
    with pytest.raises(AssertionError, match=message):
        check_component("prior", component, Host().registry)


def test_the_fixtures_make_what_the_functions_make(device, plugins):
    chain = Chain(TinyPrior(), TinyGaussian(2), 2).to(device)
    assert isinstance(copy.deepcopy(chain).operator, TinyOperator)
    assert plugins.strict
