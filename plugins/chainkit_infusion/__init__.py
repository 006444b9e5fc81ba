"""Infusion Training (Bordes, Honari and Vincent 2017; thesis of Bordes, chapter 3 and appendix A).

The model chain starts from factorial noise and denoises it in K learned steps. It is trained on
walks of its own into which a little of the data point is infused: every element of every state is,
with a small and slowly rising probability, drawn near x instead of from the model. The operator
learns to turn each such state into x (objective ``denoising``), or to be likely to have made the
walk (objective ``lower-bound``).

The paper counts time t = 0..T from noise to data; here k = T - t counts down to the data, T = K.
"""

from __future__ import annotations

from chainkit.lazy import lazy_names

_HOME = {
    "Denoising": "objectives",
    "IncreasingRate": "rate",
    "InfusionGaussian": "gaussian",
    "InfusionIsotropic": "isotropic",
    "InfusionProcess": "process",
    "NearBits": "near",
    "NearGaussian": "near",
}

__all__ = [*_HOME]
__getattr__, __dir__ = lazy_names(__name__, _HOME)
