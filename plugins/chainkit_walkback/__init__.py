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

from chainkit.lazy import lazy_names

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

__all__ = [*_HOME]
__getattr__, __dir__ = lazy_names(__name__, _HOME)
