"""FID and Inception score through torch-fidelity, on features that are registered with it, and what is said where it is absent."""

import os
import sys

import pytest
import torch

from chainkit import Chain, ForwardProcess, TransitionOperator
from chainkit.component import Context
from chainkit.data import Data
from chainkit.errors import DataError, MissingPackage
from chainkit.kernel import GaussianKernel
from chainkit_estimators.class_score import class_score
from chainkit_estimators.fidelity import FILE, build, images, value_range, weights_file
from chainkit_estimators.frechet import fitted, frechet_distance
from chainkit_estimators.sample_configs import FidelityConfig
from chainkit_estimators.samples import draw
from chainkit_priors import GaussianPrior

SHAPE = (1, 4, 4)


class Grey(TransitionOperator):
    def forward(self, state, k, condition=None):
        return GaussianKernel(torch.full_like(state, 0.4), torch.full_like(state, 0.01))


class NoWalk(ForwardProcess):
    def walk(self, chain, batch, **rest):
        raise AssertionError("samples need no walk")


@pytest.fixture
def chain():
    return Chain(GaussianPrior(torch.zeros(SHAPE), torch.ones(SHAPE)), Grey(), 1)


@pytest.fixture
def examples():
    pixels = torch.rand(100, *SHAPE, generator=torch.Generator().manual_seed(0))
    return Data.of(pixels[:60], test=pixels[60:]).examples("test")


@pytest.fixture(scope="module")
def extractor():
    """Six pixels of an image, as floats, take the place of Inception."""
    package = pytest.importorskip("torch_fidelity")
    base = pytest.importorskip("torch_fidelity.feature_extractor_base").FeatureExtractorBase

    class SixPixels(base):
        def __init__(self, name, features_list, **settings):
            super().__init__(name, features_list)

        @staticmethod
        def get_provided_features_list():
            return ("pixels",)

        @staticmethod
        def get_default_feature_layer_for_metric(metric):
            return "pixels"

        @staticmethod
        def can_be_compiled():
            return False

        def forward(self, pixels):
            return tuple(pixels[:, 1].flatten(1)[:, :6].float() / 64 for _ in self.features_list)

    package.register_feature_extractor("six-pixels", SixPixels)
    return "six-pixels"


def six(states):
    return (states.double().clamp(0, 1) * 255).round().flatten(1)[:, :6] / 64


def test_the_figures_are_those_of_the_same_features(chain, examples, extractor):
    estimator = build(FidelityConfig(samples=50, extractor=extractor), Context())
    before = torch.get_rng_state()
    found = estimator.estimate(chain, NoWalk(), examples)
    assert torch.equal(before, torch.get_rng_state())
    samples = six(draw(chain, examples, 50))
    held_out = six(torch.cat([batch.origin for batch in examples.batches(50)]))
    training = six(torch.cat([batch.origin for batch in examples.data.examples("train", 50).batches(50)]))
    assert found.value == pytest.approx(frechet_distance(fitted(samples), fitted(held_out)), rel=1e-4)
    assert found.beside["training data"] == pytest.approx(frechet_distance(fitted(training), fitted(held_out)), rel=1e-4)
    assert 1 < found.beside["Inception score"] < class_score(samples.softmax(1))  # a split of five sees less variety
    assert found.unit == "squared units of the features"


def test_samples_that_end_in_a_mean_are_all_of_one_grey_here(chain, examples, extractor):
    found = build(FidelityConfig(samples=50, extractor=extractor, last="mean"), Context()).estimate(chain, NoWalk(), examples)
    held_out = six(torch.cat([batch.origin for batch in examples.batches(50)]))
    grey = six(torch.full((50, *SHAPE), 0.4))
    assert found.value == pytest.approx(frechet_distance(fitted(grey), fitted(held_out)), rel=1e-4)
    assert found.beside["Inception score"] == pytest.approx(1, abs=1e-6)
    assert "of samples ending in a mean to 40" in found.meaning


def test_an_absent_package_is_said_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(MissingPackage, match=r"torch_fidelity cannot be imported .*: pip install chainkit\[fidelity\]"):
        build(FidelityConfig(), Context())


def test_absent_weights_are_said_in_one_line_and_nothing_is_downloaded(monkeypatch, tmp_path):
    pytest.importorskip("torch_fidelity")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(DataError, match=f"{FILE}: the weights of Inception are absent") as caught:
        build(FidelityConfig(), Context())
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 4
    with pytest.raises(DataError, match=r"elsewhere\.pth: the weights"):
        build(FidelityConfig(weights=str(tmp_path / "elsewhere.pth")), Context())


def test_weights_are_found_where_torch_keeps_them_or_where_they_are_said_to_be(monkeypatch, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    torch.save({"weight": torch.ones(2)}, tmp_path / "checkpoints" / FILE)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    assert weights_file(None) == weights_file(str(tmp_path / "checkpoints" / FILE))


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("legacy", [False, True])
def test_weights_that_would_run_code_are_refused_and_run_none(tmp_path, legacy):
    path = tmp_path / "weights.pth"
    torch.save({"weight": Trap(tmp_path / "sprung")}, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(DataError, match=r"weights\.pth: not weights, damaged or with other objects than tensors in it"):
        weights_file(str(path))
    path.write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(DataError, match=r"weights\.pth: not weights"):
        weights_file(str(path))
    assert not (tmp_path / "sprung").exists()


def test_states_become_images_of_three_channels_and_8_bits():
    grey = images(torch.tensor([-1.0, 0.0, 0.5, 1.3]).view(1, 1, 2, 2), 0, 1)
    assert len(grey) == 1
    assert grey[0].dtype == torch.uint8
    assert grey[0].tolist() == [[[0, 0], [128, 255]]] * 3
    assert images(torch.tensor([-1.0, 0.0, 1.0]).view(1, 3, 1, 1), -1, 1)[0].flatten().tolist() == [0, 128, 255]
    with pytest.raises(DataError, match="1 or 3 channels, not 2"):
        images(torch.zeros(1, 2, 3, 3), 0, 1)


def test_the_range_is_the_unit_interval_where_the_data_lies_in_it():
    assert value_range(torch.tensor([0.1, 0.8])) == (0, 1)
    assert value_range(torch.tensor([0.0, 1.0])) == (0, 1)
    assert value_range(torch.tensor([0.0, 1.5])) == (0, 1.5)
    assert value_range(torch.tensor([-0.25, 1.0])) == (-0.25, 1)
    assert value_range(torch.tensor([-2.0, 3.0])) == (-2, 3)
