"""Figures about chains: bounds and estimates of log p(x), and what to read beside them.

``lower-bound`` and ``importance`` turn log w of several walks per example (:mod:`chainkit.log_weight`)
into the two figures of note 4 of the infusion paper. ``factorial`` is the baseline that every
figure of a chain should beat, ``prior-gap`` the part of a walkback or diffusion bound that is lost
where the walks do not end in the prior. ``isotropic`` has another estimator judge the chain with one
output variance.

``mmd``, ``neighbours``, ``copying``, ``frechet``, ``class-score``, ``classifier`` and ``fidelity`` look at
samples, beside as much held-out or training data: none of them replaces a likelihood, and none is replaced by one.

Figures are computed in the precision of the chain's parameters, never under autocast, and
accumulated in float64. None depends on how examples share batches.
"""

from __future__ import annotations

from chainkit.lazy import lazy_names

_HOME = {
    "ClassScore": "class_score",
    "Copying": "copying",
    "Factorial": "factorial",
    "Fidelity": "fidelity",
    "Frechet": "frechet",
    "Importance": "importance",
    "Isotropic": "isotropic",
    "LowerBound": "lower_bound",
    "Mmd": "mmd",
    "Neighbours": "neighbours",
    "Optimum": "optimum",
    "Parzen": "parzen",
    "PriorGap": "prior_gap",
    "Sampling": "samples",
}

__all__ = [*_HOME]
__getattr__, __dir__ = lazy_names(__name__, _HOME)
