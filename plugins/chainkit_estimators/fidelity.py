"""FID and Inception score as others compute them, by torch-fidelity (Obukhov et al. 2020).

The Fréchet Inception distance of Heusel et al. 2017 and the score of Salimans et al. 2016, on images of
8 bits per channel. Nothing is downloaded: the package comes with ``pip install chainkit[fidelity]``,
and the weights of Inception are a file that the user puts in place. torch-fidelity reads that file
with pickle, which can run code; it is given none that holds anything but tensors.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import torch
from torch import Tensor
from torch.utils.data import Dataset

from chainkit import Chain, Context, Estimate, ForwardProcess
from chainkit.data import Examples
from chainkit.errors import DataError
from chainkit.packages import imported
from chainkit_estimators.figures import labels
from chainkit_estimators.sample_configs import FidelityConfig
from chainkit_estimators.samples import READ, Last, OfSamples, draw, ending

INCEPTION = "inception-v3-compat"
FILE = "weights-inception-2015-12-05-6726825d.pth"
SPLITS = 10


class Images(Dataset[Tensor]):
    """Images as torch-fidelity takes them.

    Arguments:
        pixels: uint8 [n, 3, rows, columns].
    """

    def __init__(self, pixels: Tensor) -> None:
        self.pixels = pixels

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> Tensor:
        return self.pixels[index]


def value_range(states: Tensor) -> tuple[float, float]:
    """The values that become 0 and 255: 0 and 1 if the states lie between them, else their least and largest."""
    low, high = states.min().item(), states.max().item()
    return (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)


def images(states: Tensor, low: float, high: float) -> Images:
    """States as images of three channels.

    Arguments:
        states: [n, 1 or 3, rows, columns], in model units.
        low: The value that becomes 0; so does what is below it.
        high: The value that becomes 255; so does what is above it.

    Raises:
        DataError: They have another number of channels.
    """
    _require_channels(states.shape[1])
    pixels = ((states.double() - low) / (high - low)).clamp(0, 1).mul(255).round().byte()
    return Images(pixels.expand(-1, 3, -1, -1).cpu())


def _require_channels(channels: int) -> None:
    if channels not in (1, 3):
        raise DataError(f"fidelity: images have 1 or 3 channels, not {channels}")


def weights_file(given: str | None) -> Path:
    """The file with the weights of Inception.

    Arguments:
        given: Its path; None is where torch keeps what it downloads.

    Raises:
        DataError: There is no such file, or it is damaged or holds other objects than tensors.
    """
    path = Path(given) if given else Path(torch.hub.get_dir()) / "checkpoints" / FILE
    if not path.is_file():
        raise DataError(f"{path}: the weights of Inception are absent; put {FILE} of torch-fidelity there, or set weights")
    try:
        torch.load(path, map_location="cpu", mmap=False, weights_only=True)
    except Exception as error:  # damaged files make the readers raise almost anything
        raise DataError(f"{path}: not weights, damaged or with other objects than tensors in it ({type(error).__name__})") from error
    return path


@attrs.frozen(kw_only=True)
class Fidelity(OfSamples):
    """The Fréchet Inception distance of samples to held-out data; beside it the Inception score, and the distance of training data.

    Arguments:
        package: torch-fidelity.
        samples: Number of samples, at least 2.
        steps: Number of sampling steps; None is the trained K.
        last: Whether the last step is a ``draw``, as all before it, or its ``mean`` is taken.
        extractor: Name of the feature extractor, one that is registered with the package.
        weights: Its weights; None where it needs none.
    """

    package: ModuleType
    samples: int = 1000
    steps: int | None = None
    last: Last = "draw"
    extractor: str = INCEPTION
    weights: Path | None = None

    def check(self, chain: Chain, examples: Examples) -> None:
        super().check(chain, examples)
        _require_channels(examples.data.shape[0])

    def estimate(self, chain: Chain, process: ForwardProcess, examples: Examples) -> Estimate:
        """Draws samples and compares them.

        Raises:
            DataError: The data has neither 1 nor 3 channels, or the last step no mean that is asked for.
        """
        training = examples.data.examples("train", self.samples, seed=examples.seed, device=examples.device)
        data, near = (torch.cat([batch.origin for batch in one.batches(READ)]) for one in (examples, training))
        low, high = value_range(data)
        held_out = images(data, low, high)
        drawn = draw(chain, examples, self.samples, self.steps, self.last)
        found, nearby = (self._metrics(images(states, low, high), held_out, examples) for states in (drawn, near))
        return Estimate(
            name="FID",
            meaning=f"Fréchet distance of {ending(self.last)} to {len(examples)} held-out examples on the features of {self.extractor};"
            " 0 is best",
            value=found["frechet_inception_distance"],
            unit="squared units of the features",
            likelihood=False,
            lower_is_better=True,
            beside={
                "Inception score": found["inception_score_mean"],
                "training data": nearby["frechet_inception_distance"],
                "Inception score of training data": nearby["inception_score_mean"],
            },
            details={"samples": self.samples, "Inception score, deviation over splits": found["inception_score_std"], "splits": SPLITS},
            **labels(examples),
        )

    def _metrics(self, first: Images, second: Images, examples: Examples) -> dict[str, Any]:
        with torch.random.fork_rng(devices=[]):  # a data loader draws a seed even where it shuffles nothing
            found: dict[str, Any] = self.package.calculate_metrics(
                input1=first,
                input2=second,
                cuda=torch.device(examples.device).type == "cuda",
                isc=True,
                fid=True,
                isc_splits=SPLITS,
                feature_extractor=self.extractor,
                feature_extractor_weights_path=None if self.weights is None else str(self.weights),
                cache=False,
                save_cpu_ram=True,
                rng_seed=examples.seed,
                verbose=False,
            )
        return found


def build(config: FidelityConfig, context: Context) -> Fidelity:
    """The estimator that a recipe describes.

    Raises:
        MissingPackage: torch-fidelity cannot be imported.
        DataError: The weights of Inception are absent.
    """
    package = imported("torch_fidelity", "pip install chainkit[fidelity]")
    weights = weights_file(config.weights) if config.weights or config.extractor == INCEPTION else None
    return Fidelity(
        package=package, samples=config.samples, steps=config.steps, last=config.last, extractor=config.extractor, weights=weights
    )
