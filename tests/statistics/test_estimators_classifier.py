"""The classifier reads samples that are known to be of one class, of both, and of neither."""

import math

import pytest
import torch

from chainkit import Chain, Data, TransitionOperator
from chainkit.data import Split
from chainkit.errors import DataError
from chainkit.kernel import GaussianKernel
from chainkit.preparation import Unprepared
from chainkit_estimators.classifier import ClassifierScore
from chainkit_estimators.reader import Training, reader
from chainkit_estimators.samples import draw
from chainkit_infusion import IncreasingRate, InfusionProcess
from chainkit_priors import GaussianPrior

CENTRES = torch.tensor([[-3.0, 0.0], [3.0, 0.0]])


class Towards(TransitionOperator):
    """Draws at one centre, or at the one that is nearer to the state."""

    def __init__(self, only=None):
        super().__init__()
        self.only = only

    def forward(self, state, k, condition=None):
        nearer = torch.cdist(state, CENTRES).argmin(1) if self.only is None else torch.full((len(state),), self.only)
        return GaussianKernel(CENTRES[nearer], torch.full_like(state, 0.01))


def two_clusters(labelled=True):
    torch.manual_seed(0)
    labels = torch.arange(400) % 2
    split = Split(values=CENTRES[labels] + 0.3 * torch.randn(400, 2), labels=labels if labelled else None)
    return Data("clusters", {"train": split, "valid": split, "test": split}, Unprepared())


def read(operator, data):
    chain = Chain(GaussianPrior(torch.zeros(2), torch.ones(2)), operator, 1)
    process = InfusionProcess(IncreasingRate())
    return ClassifierScore(samples=500, hidden=32, epochs=300).estimate(chain, process, data.examples("test"))


def test_samples_of_one_class_are_read_surely_and_have_no_class_entropy():
    found = read(Towards(only=0), two_clusters())
    assert found.value > 0.98
    assert found.beside["class entropy (nats)"] < 0.05
    assert found.beside["accuracy"] == 1.0


def test_the_error_of_the_confidence_is_that_of_a_mean():
    data, chain = two_clusters(), Chain(GaussianPrior(torch.zeros(2), torch.ones(2)), Towards(), 1)
    found = read(Towards(), data)
    samples = draw(chain, data.examples("test"), 500)
    sure = reader(data.examples("test"), Training(hidden=32, epochs=300))(samples).double().softmax(1).amax(1)
    assert found.value == pytest.approx(sure.mean().item())
    assert found.error_examples == pytest.approx(sure.std().item() / 500**0.5)


def test_samples_of_both_classes_have_the_entropy_of_a_fair_coin():
    found = read(Towards(), two_clusters())
    assert found.value > 0.98
    assert found.beside["class entropy (nats)"] == pytest.approx(math.log(2), abs=0.02)


def test_the_factorial_model_of_two_clusters_is_read_less_surely_than_data():
    found = read(Towards(), two_clusters())
    assert found.beside["factorial model"] < found.beside["held-out data"]


def test_data_without_labels_is_refused():
    with pytest.raises(DataError, match="no labels"):
        read(Towards(), two_clusters(labelled=False))
