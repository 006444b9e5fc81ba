"""Fixed diffusion: data is destroyed by a known process, and a chain learns to undo it step by step.

The processes and the variational objective are those of Sohl-Dickstein, Weiss, Maheswaranathan and
Ganguli 2015 (arXiv 1503.03585), the parametrisation by the noise that of Ho, Jain and Abbeel 2020
(arXiv 2006.11239), the cosine schedule that of Nichol and Dhariwal 2021 (arXiv 2102.09672). Index k
counts as in those papers: s_0 = x is the data, s_K the noise.
"""

from __future__ import annotations

from chainkit.lazy import lazy_names

_HOME = {
    "BernoulliReverse": "bernoulli_reverse",
    "BinomialDiffusion": "binomial",
    "BinomialSteps": "capabilities",
    "CosineVariances": "schedules",
    "DataPrediction": "data_prediction",
    "DiffusionBound": "bound",
    "DiffusionSimple": "simple",
    "FixedDiffusion": "process",
    "FixedVariances": "schedules",
    "GaussianDiffusion": "gaussian",
    "GaussianReverse": "gaussian_reverse",
    "GaussianSteps": "capabilities",
    "GeometricVariances": "schedules",
    "HarmonicVariances": "schedules",
    "LearnedVariances": "schedules",
    "LinearVariances": "schedules",
    "NoisePrediction": "noise_prediction",
    "PredictsNoise": "capabilities",
}

__all__ = [*_HOME]
__getattr__, __dir__ = lazy_names(__name__, _HOME)
