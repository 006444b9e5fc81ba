"""Fixed diffusion: data is destroyed by a known process, and a chain learns to undo it step by step.

The processes and the variational objective are those of Sohl-Dickstein, Weiss, Maheswaranathan and
Ganguli 2015 (arXiv 1503.03585), the parametrisation by the noise that of Ho, Jain and Abbeel 2020
(arXiv 2006.11239), the cosine schedule that of Nichol and Dhariwal 2021 (arXiv 2102.09672). Index k
counts as in those papers: s_0 = x is the data, s_K the noise.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "BernoulliReverse": "bernoulli_reverse",
    "BinomialDiffusion": "binomial",
    "BinomialSteps": "capabilities",
    "CosineVariances": "schedules",
    "DiffusionBound": "bound",
    "DiffusionSimple": "simple",
    "FixedDiffusion": "process",
    "FixedVariances": "schedules",
    "GaussianDiffusion": "gaussian",
    "GaussianReverse": "gaussian_reverse",
    "GaussianSteps": "capabilities",
    "HarmonicVariances": "schedules",
    "LearnedVariances": "schedules",
    "LinearVariances": "schedules",
    "NoisePrediction": "noise_prediction",
    "PredictsNoise": "capabilities",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    """Imports on first use, so that listing components does not import torch."""
    if name not in _HOME:
        raise AttributeError(f"module 'chainkit_diffusion' has no attribute {name!r}")
    return getattr(importlib.import_module(f"chainkit_diffusion.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
