"""Oracles: chains so small that p(x) is known exactly, and what that is worth to a test.

- :class:`Enumerated`: log p(x) of any chain over a few bits, or over a line, by transfer matrices;
- :class:`LinearGaussian`: log p(x) of any chain whose steps are N(A s + b, V), and E_q[log w] where q is
  made of such steps too, in closed form;
- :class:`GaussianReverse`, :class:`FiniteReverse`: the exact reverse of a diffusion, for Gaussian data and
  for data at a few points: log w is log p(x) on every walk;
- :func:`every_walk`: all walks of a process from one x with their probabilities, so that expectations
  over walks are sums;
- :class:`LinearNetwork`: a network with which the operators of any plugin become such a chain;
- :func:`cases`: every registered operator with every process that it goes with, made such a chain;
- :class:`OracleParts`: the parts above as components of a plugin.

``oracle.log_prob(chain, x)`` is the common form.
"""

from chainkit.testing.oracles.cases import Case, cases, part
from chainkit.testing.oracles.enumerated import Enumerated
from chainkit.testing.oracles.finite_reverse import FiniteReverse
from chainkit.testing.oracles.full_gaussian import FullGaussian
from chainkit.testing.oracles.gaussian_reverse import GaussianReverse
from chainkit.testing.oracles.linear_gaussian import Affine, LinearGaussian
from chainkit.testing.oracles.linear_network import LinearNetwork
from chainkit.testing.oracles.parts import OracleParts
from chainkit.testing.oracles.walks import Walks, every_walk, scripted

__all__ = [
    "Affine",
    "Case",
    "Enumerated",
    "FiniteReverse",
    "FullGaussian",
    "GaussianReverse",
    "LinearGaussian",
    "LinearNetwork",
    "OracleParts",
    "Walks",
    "cases",
    "every_walk",
    "part",
    "scripted",
]
