"""Starting distributions p*(s_K): factorial noise, fixed or fitted to the training data.

The infusion paper starts from a factorial Gaussian with the mean and variance of every pixel of
the training set (section 3.5), the walkback paper from a Gaussian with the variance of the data
(appendix B), the diffusion paper from a standard normal or from independent bits.
"""

from __future__ import annotations

from chainkit.lazy import lazy_names

_HOME = {"BernoulliPrior": "bernoulli", "GaussianPrior": "gaussian"}

__all__ = [*_HOME]
__getattr__, __dir__ = lazy_names(__name__, _HOME)
