"""The isotropic output: against the closed form of a chain that has it, and the choice of its variance."""

import math

import attrs
import pytest
import torch

from chainkit import Chain, ForwardProcess, TransitionOperator
from chainkit.data import Data
from chainkit.kernel import GaussianKernel
from chainkit_estimators import Importance, Isotropic, LowerBound
from chainkit_estimators.isotropic import IsotropicOutput, best_variance
from chainkit_infusion import IncreasingRate, InfusionProcess, NearGaussian
from chainkit_priors import GaussianPrior
from chainkit_walkback import HeatedProcess

INFUSION = InfusionProcess(IncreasingRate(0.05, 0.05), NearGaussian(0.01))
SPREADS = torch.tensor([0.05, 0.4])


class Affine(TransitionOperator):
    """p(s_{k-1} | s_k) = N(0.8 s_k, v), v of the last step that of the outputs given."""

    def __init__(self, output):
        super().__init__()
        self.output = output

    def forward(self, state, k, condition=None):
        variance = self.output if k == 1 else torch.full((2,), 0.3)
        return GaussianKernel(0.8 * state, variance.expand_as(state))


def chain(output=SPREADS, steps=3):
    return Chain(GaussianPrior(torch.zeros(2), torch.ones(2)), Affine(output), steps)


def data(n=300, scale=0.9):
    draws = scale * torch.randn(2 * n, 2, generator=torch.Generator().manual_seed(0))
    return Data.of(draws[:n], valid=draws[:n], test=draws[n:])


def exact(values, output, steps=3):
    variance = 1.0
    for _ in range(steps - 1):
        variance = 0.64 * variance + 0.3
    return torch.distributions.Normal(0.0, math.sqrt(0.64 * variance + output)).log_prob(values.double()).sum(1).mean().item()


@pytest.mark.parametrize("output", [0.1, 0.7])
def test_a_given_variance_gives_the_likelihood_of_the_chain_that_has_it(output):
    examples = data().examples("test", 40)
    estimate = Isotropic(estimator=Importance(walks=3000), variance=output).estimate(chain(), INFUSION, examples)
    values = data().split("test").values[examples.index]
    assert abs(estimate.value - exact(values, output)) < 4.5 * estimate.error_walks
    assert estimate.error_walks < 0.02
    assert estimate.name == "importance sampling, isotropic output"
    assert estimate.details["variance"] == output


@pytest.mark.parametrize("process", [INFUSION, HeatedProcess()])
def test_the_walks_stay_as_they_are(process):
    """With the variance that the output has already nothing changes, also where q uses the last kernel."""
    model, examples = chain(torch.tensor([0.3, 0.3])), data().examples("test", 50)
    plain = LowerBound(walks=3).estimate(model, process, examples)
    replaced = Isotropic(estimator=LowerBound(walks=3), variance=0.3).estimate(model, process, examples)
    assert replaced.value == pytest.approx(plain.value, abs=1e-6)
    assert replaced.error_walks == pytest.approx(plain.error_walks, abs=1e-6)


def test_one_walk_gives_the_variance_that_is_best_for_the_bound():
    model, found = chain(), data()
    best = Isotropic(estimator=LowerBound(walks=1), fit_walks=1, fit_examples=300).estimate(model, INFUSION, found.examples("valid"))
    assert best.details["variance from"] == "300 train examples"
    on_train = {}
    for factor in (0.9, 1.0, 1.1):
        variance = factor * best.details["variance"]
        on_train[factor] = LowerBound(walks=1).estimate(model, IsotropicOutput(INFUSION, variance), found.examples("train")).value
    assert max(on_train, key=on_train.get) == 1.0


def test_more_walks_give_the_variance_that_is_best_for_the_importance_estimate():
    model, found = chain(), data()
    best = Isotropic(estimator=Importance(walks=2), fit_walks=50, fit_examples=300).estimate(model, INFUSION, found.examples("test"))
    assert best.details["variance from"] == "300 valid examples"
    on_valid = {}
    for factor in (0.9, 1.0, 1.1):
        process = IsotropicOutput(INFUSION, factor * best.details["variance"])
        on_valid[factor] = Importance(walks=50).estimate(model, process, found.examples("valid")).value
    assert max(on_valid, key=on_valid.get) == 1.0


def test_the_variance_chosen_is_a_maximum_of_the_mean_importance_estimate():
    source = torch.Generator().manual_seed(4)
    rest, distance = torch.randn(50, 8, generator=source).double(), 1 + torch.rand(50, 8, generator=source).double()
    best = best_variance(rest, distance, 5)
    variance = torch.tensor(best, dtype=torch.float64, requires_grad=True)
    figure = (rest - 2.5 * variance.log() - distance / (2 * variance)).logsumexp(1).mean()
    figure.backward()
    assert abs(variance.grad.item() * best) < 1e-4


def test_many_walks_choose_the_variance_that_the_data_has():
    values = 1.1 * torch.randn(3000, 2, generator=torch.Generator().manual_seed(1))
    found = Isotropic(estimator=LowerBound(walks=1), fit_walks=200, fit_examples=3000).estimate(
        chain(steps=1), INFUSION, Data.of(values, test=values[:10]).examples("test")
    )
    expected = values.double().square().mean().item() - 0.64
    assert found.details["variance"] == pytest.approx(expected, abs=4.5 * 1.21 * (2 / 6000) ** 0.5)


def test_a_chain_that_reconstructs_exactly_has_the_least_variance():
    assert 0 < best_variance(*torch.zeros(2, 3, 2, dtype=torch.float64), 5) < 1e-300


def test_an_output_without_a_density_is_refused():
    class Opaque(ForwardProcess):
        def walk(self, chain, batch, **rest):
            for transition in INFUSION.walk(chain, batch, **rest):
                yield attrs.evolve(transition, reverse=object())

    with pytest.raises(TypeError, match="an isotropic output replaces one with a density and a mean, not object"):
        Isotropic(estimator=LowerBound(walks=1), variance=0.1).estimate(chain(), Opaque(), data().examples("test"))
