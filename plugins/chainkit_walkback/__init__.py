r"""Variational Walkback (Goyal, Ke, Lamb and Bengio 2016).

The model's own transition operator, heated, walks away from a data point; the operator is trained
to walk back. With :math:`s_0 = x` and temperatures :math:`T_1 \le .. \le T_K`,

.. math::
    p(x, s_1..s_K) = p^*(s_K) \prod_{k=1}^{K} p_{T_k}(s_{k-1} | s_k), \qquad
    q(s_1..s_K | x) = \prod_{k=1}^{K} p_{T_k}(s_k | s_{k-1})

(eqs. 6 and 9), and :math:`E_q[\log p - \log q] \le \log p(x)` (eq. 8).

- :class:`HeatedProcess`: q, the walk away from data;
- :class:`WalkbackBernoulli`, :class:`WalkbackGaussian`, :class:`PrintedGaussian`: operators (eqs. 11-13);
- :class:`Walkback`: Algorithm 1, q held fixed; :class:`WalkbackBound`: the full gradient of eq. 8;
- :class:`Geometric`, :class:`Constant`: temperatures.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "Constant": "schedules",
    "Geometric": "schedules",
    "HeatedProcess": "heated",
    "HeatedTransition": "heated",
    "PrintedGaussian": "printed",
    "PrintedGaussianKernel": "printed",
    "Walkback": "local",
    "WalkbackBernoulli": "bernoulli",
    "WalkbackBound": "bound",
    "WalkbackGaussian": "gaussian",
    "WalksAway": "capabilities",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    """Imports on first use: listing the plugin's components does not import torch."""
    if name not in _HOME:
        raise AttributeError(f"module 'chainkit_walkback' has no attribute {name!r}")
    return getattr(importlib.import_module(f"chainkit_walkback.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
