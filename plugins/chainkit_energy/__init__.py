r"""Operators that come from an energy.

The second of the two variants of section 4 of the walkback paper: what is learned is an energy E(s),
in nats, and the transition follows from it by Langevin, Hamiltonian or Gibbs sampling. With r a
reference distribution, the prior or flat,

.. math:: \pi_T(s) \propto r(s)^{1 - 1/T}\, e^{-E(s) / T}

is the model at T = 1 and r at T = infinity. Cooling a chain from r is annealed importance sampling
(Neal 2001), heating one from a data point reverse annealed importance sampling (Burda, Grosse and
Salakhutdinov 2015): both read the partition function off log w.

- :class:`Tilted`, :class:`RBM`, :class:`GaussianRBM`: energies, components of the kind ``energy``;
- :class:`Langevin`, :class:`Hamiltonian`, :class:`Gibbs`, :class:`BlockGibbs`: operators of any energy;
- :class:`ContrastiveDivergence`, :class:`PersistentDivergence`: objectives; Langevin operators have a
  density, so that walkback's objectives train them too;
- :class:`AIS`, :class:`RAISE`, :class:`Bidirectional`, :class:`Enumerated`: estimators;
- :class:`Annealed`: temperatures.
"""

from __future__ import annotations

from chainkit.lazy import lazy_names

_HOME = {
    "AIS": "ais",
    "Annealed": "schedules",
    "Bidirectional": "bidirectional",
    "Bipartite": "energy",
    "BlockGibbs": "block_gibbs",
    "ContrastiveDivergence": "divergence",
    "Energy": "energy",
    "EnergyOperator": "operator",
    "Enumerated": "enumerated",
    "FromEnergy": "capabilities",
    "GaussianRBM": "rbm",
    "Gibbs": "gibbs",
    "Hamiltonian": "hamiltonian",
    "HiddenUnits": "capabilities",
    "Langevin": "langevin",
    "PersistentDivergence": "divergence",
    "RAISE": "reverse_ais",
    "RBM": "rbm",
    "ReversibleOperator": "operator",
    "Tilted": "tilted",
}

__all__ = [*_HOME]
__getattr__, __dir__ = lazy_names(__name__, _HOME)
