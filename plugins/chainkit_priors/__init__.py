"""Starting distributions p*(s_K): factorial noise, fixed or fitted to the training data.

The infusion paper starts from a factorial Gaussian with the mean and variance of every pixel of
the training set (section 3.5), the walkback paper from a Gaussian with the variance of the data
(appendix B), the diffusion paper from a standard normal or from independent bits.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {"BernoulliPrior": "bernoulli", "GaussianPrior": "gaussian"}

__all__ = ["BernoulliPrior", "GaussianPrior"]


def __getattr__(name: str) -> Any:
    """Imports on first use: registering the components does not import torch."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
