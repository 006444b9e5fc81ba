"""A two-layer VAE: the widths of the states change from step to step, the process owns the recognition network.

Every layer is linear and Gaussian, so that p(x) has a closed form to compare with.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from chainkit.batch import Batch
from chainkit.build import Model
from chainkit.chain import Chain
from chainkit.data import Data
from chainkit.distributions import Density, Gaussian, HasMean, Reparametrised
from chainkit.kernel import Kernel, UntemperedKernel
from chainkit.log_weight import log_weights
from chainkit.objective import PathBound
from chainkit.operator import TransitionOperator
from chainkit.prior import Prior
from chainkit.process import ForwardProcess
from chainkit.random import seeded
from chainkit.states import State
from chainkit.transition import Transition, log_ratio, total_log_ratio

WIDTHS = (3, 2, 1)
"""Widths of x, of the lower and of the upper latent."""


class Layer(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.affine = nn.Linear(inputs, outputs)
        self.log_variance = nn.Parameter(torch.zeros(outputs))

    def forward(self, value: Tensor) -> Gaussian:
        return Gaussian(self.affine(value), self.log_variance.exp())


class Generative(TransitionOperator):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(above, below) for below, above in pairwise(WIDTHS))

    def forward(self, state: Tensor, k: int, condition: object = None) -> Kernel:
        return UntemperedKernel(self.layers[k - 1](state))


class Standard(Prior):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("zero", torch.zeros(width))

    def forward(self, rows: int) -> Gaussian:
        return Gaussian(self.zero.expand(rows, -1), torch.ones_like(self.zero))


class Recognition(ForwardProcess):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(below, above) for below, above in pairwise(WIDTHS))

    def walk(self, chain, batch, *, source=None, path_gradient=False, with_log_ratio=False) -> Iterator[Transition]:
        previous = batch.origin
        for k, layer in enumerate(self.layers, 1):
            forward = layer(previous)
            state = forward.rsample(source) if path_gradient else forward.sample(source)
            reverse = chain.operator(state, k).at()
            share = log_ratio(reverse, previous, forward, state) if with_log_ratio else None
            if with_log_ratio and k == chain.steps:
                share = share + chain.prior(batch.rows).log_prob(state)
            yield Transition(k=k, steps=chain.steps, state=state, previous=previous, origin=batch.origin, reverse=reverse, log_ratio=share)
            previous = state


def vae(seed: int = 0) -> Model:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Model(Chain(Standard(WIDTHS[-1]), Generative(), 2), Recognition(), PathBound()).double()


def exact_law(chain: Chain) -> MultivariateNormal:
    mean, covariance = torch.zeros(WIDTHS[-1]).double(), torch.eye(WIDTHS[-1]).double()
    for layer in reversed(chain.operator.layers):
        weight = layer.affine.weight.detach()
        mean = weight @ mean + layer.affine.bias.detach()
        covariance = weight @ covariance @ weight.T + layer.log_variance.detach().exp().diag()
    return MultivariateNormal(mean, covariance)


@pytest.fixture(scope="module")
def truth() -> MultivariateNormal:
    """The law of the data, one that the model can express."""
    return exact_law(vae(seed=7).chain)


@pytest.fixture(scope="module")
def data(truth: MultivariateNormal) -> Data:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        data = Data.of(truth.sample((2000,)), test=truth.sample((40,)))
    data.to("cpu", torch.float64)
    return data


@pytest.fixture(scope="module")
def trained(make_trainer, train, data: Data) -> Model:
    model = vae()
    train(make_trainer(model, data, epochs=40, batch_size=200))
    return model


def test_training_reaches_the_likelihood_of_the_truth(trained, data, truth):
    x = data.split("train").values
    reached, best = exact_law(trained.chain).log_prob(x).mean(), truth.log_prob(x).mean()
    assert exact_law(vae().chain).log_prob(x).mean() < best - 0.3
    assert abs(reached - best) < 0.05


def test_importance_estimate_is_the_closed_form_and_the_bound_lies_below(trained, data, mean_weight):
    examples = data.examples("test")
    log_w = log_weights(trained.chain, trained.process, examples, 2000)
    exact = exact_law(trained.chain).log_prob(data.split("test").values)
    estimate, error = mean_weight(log_w)
    assert ((estimate - exact).abs() < 4.5 * error).all()
    assert (log_w.mean(1) < exact + 4 * log_w.std(1) / 2000**0.5).all()


def test_samples_pass_through_every_width_and_follow_the_model(trained):
    samples = trained.chain.sample(40_000, source=seeded("cpu", 0), keep_path=True)
    assert [state.shape[1] for state in samples.path] == list(reversed(WIDTHS))
    law = exact_law(trained.chain)
    error = (law.variance / 40_000).sqrt()
    assert ((samples.state.mean(0) - law.mean).abs() < 4 * error).all()
    spread = law.variance.sqrt()
    assert ((samples.state.T.cov() - law.covariance_matrix).abs() < 4 * 1.5 * spread[:, None] * spread / 200).all()


def test_with_the_exact_posterior_every_walk_has_log_w_equal_to_log_p():
    model = vae()
    lower, upper = model.chain.operator.layers
    with torch.no_grad():
        upper.affine.weight[1:] = 0.0  # one lower latent is independent of the upper one,
        lower.affine.weight[:, 1:] = 0.0  # and reaches no pixel: the posterior is then factorial
        a, b = lower.affine.weight[:, 0], upper.affine.weight[0, 0]
        variance, prior_mean = lower.log_variance.exp(), upper.affine.bias.clone()
        prior_variance = upper.log_variance.exp()[0] + b**2
        precision = 1 / prior_variance + (a**2 / variance).sum()
        below, above = model.process.layers
        below.affine.weight[0] = a / variance / precision
        below.affine.bias[0] = (prior_mean[0] / prior_variance - (a * lower.affine.bias / variance).sum()) / precision
        below.log_variance[0] = -precision.log()
        below.affine.weight[1], below.affine.bias[1] = 0.0, prior_mean[1]
        below.log_variance[1] = upper.log_variance[1]
        precision = 1 + b**2 / upper.log_variance.exp()[0]
        above.affine.weight[0] = torch.stack([b / upper.log_variance.exp()[0] / precision, torch.zeros_like(b)])
        above.affine.bias[0] = -above.affine.weight[0, 0] * prior_mean[0]
        above.log_variance[0] = -precision.log()
    x = torch.linspace(-2, 2, 30).double().view(10, 3)
    walks = model.process.walk(model.chain, Batch.of(x).repeat(20), source=seeded("cpu", 1), with_log_ratio=True)
    log_w = total_log_ratio(walks).view(10, 20)
    torch.testing.assert_close(log_w, exact_law(model.chain).log_prob(x)[:, None].expand(-1, 20), atol=1e-10, rtol=0)


class Pair(Density, Reparametrised, HasMean):
    """Two independent parts, as one state (left, right)."""

    def __init__(self, left: Gaussian, right: Gaussian) -> None:
        self.parts = (left, right)

    @property
    def mean(self) -> State:
        return tuple(part.mean for part in self.parts)

    def sample(self, source=None) -> State:
        return tuple(part.sample(source) for part in self.parts)

    def rsample(self, source=None) -> State:
        return tuple(part.rsample(source) for part in self.parts)

    def log_prob(self, value: State) -> Tensor:
        return sum(part.log_prob(item) for part, item in zip(self.parts, value, strict=True))


class PairedGenerative(Generative):
    """The same chain, its lower latent kept as a tuple of two one-dimensional tensors."""

    def forward(self, state: State, k: int, condition: object = None) -> Kernel:
        if k == 1:
            return UntemperedKernel(self.layers[0](torch.cat(state, 1)))
        joint = self.layers[1](state)
        left, right = joint.mean.split(1, 1)
        return UntemperedKernel(Pair(Gaussian(left, joint.variance[:1]), Gaussian(right, joint.variance[1:])))


class PairedRecognition(Recognition):
    def walk(self, chain, batch, *, source=None, path_gradient=False, with_log_ratio=False) -> Iterator[Transition]:
        first, second = self.layers
        joint = first(batch.origin)
        left, right = joint.mean.split(1, 1)
        forward = Pair(Gaussian(left, joint.variance[:1]), Gaussian(right, joint.variance[1:]))
        latent = forward.rsample(source) if path_gradient else forward.sample(source)
        common = {"steps": 2, "origin": batch.origin}
        reverse = chain.operator(latent, 1).at()
        share = log_ratio(reverse, batch.origin, forward, latent) if with_log_ratio else None
        yield Transition(k=1, state=latent, previous=batch.origin, reverse=reverse, log_ratio=share, **common)
        forward = second(torch.cat(latent, 1))
        top = forward.rsample(source) if path_gradient else forward.sample(source)
        reverse = chain.operator(top, 2).at()
        share = log_ratio(reverse, latent, forward, top) + chain.prior(batch.rows).log_prob(top) if with_log_ratio else None
        yield Transition(k=2, state=top, previous=latent, reverse=reverse, log_ratio=share, **common)


@pytest.fixture
def paired(trained) -> Model:
    """The trained model with a tuple for its lower latent."""
    model = Model(Chain(Standard(1), PairedGenerative(), 2), PairedRecognition(), PathBound()).double()
    model.load_state_dict(trained.state_dict())
    return model


def test_states_may_be_tuples(paired, data, mean_weight, make_trainer):
    log_w = log_weights(paired.chain, paired.process, data.examples("test"), 2000)
    exact = exact_law(paired.chain).log_prob(data.split("test").values)
    estimate, error = mean_weight(log_w)
    assert ((estimate - exact).abs() < 4.5 * error).all()
    before = [parameter.clone() for parameter in paired.parameters()]
    next(make_trainer(paired, data, epochs=1, batch_size=200).epoch_updates())
    assert all((old != new).any() for old, new in zip(before, paired.parameters(), strict=True))


def test_a_clamp_holds_one_part_of_a_tuple(paired):
    def held(state: State, k: int) -> State:
        return (torch.full_like(state[0], 1.5), state[1]) if k == 1 else state

    samples = paired.chain.sample(40_000, clamp=held, source=seeded("cpu", 2), keep_path=True)
    _, (left, right), _ = samples.path
    assert (left == 1.5).all()
    lower, upper = paired.chain.operator.layers
    free = upper.affine.weight[1] ** 2 + upper.log_variance[1].exp()
    latent_mean = torch.stack([torch.tensor(1.5).double(), upper.affine.bias[1]])
    mean = lower.affine(latent_mean).detach()
    variance = (lower.affine.weight[:, 1] ** 2 * free + lower.log_variance.exp()).detach()
    assert abs(float((right.mean() - upper.affine.bias[1]).detach())) < 4 * float((free.detach() / 40_000).sqrt())
    assert ((samples.state.mean(0) - mean).abs() < 4 * (variance / 40_000).sqrt()).all()
