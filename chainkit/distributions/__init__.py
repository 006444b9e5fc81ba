"""The few distributions that chains are made of.

They are pure functions of the parameters that one network evaluation returned, draw from an
explicit source (:mod:`chainkit.random`), which ``torch.distributions`` cannot take, and hold one
state per row. :class:`Wrapped` adapts any ``torch.distributions`` object.
"""

from chainkit.capabilities import Density, Distribution, Factorial, HasMean, Reparametrised, Reversible
from chainkit.distributions.bernoulli import Bernoulli, StraightThrough
from chainkit.distributions.gaussian import Gaussian
from chainkit.distributions.infused import Infused
from chainkit.distributions.kl import kl_divergence, register_kl
from chainkit.distributions.wrapped import Wrapped

__all__ = [
    "Bernoulli",
    "Density",
    "Distribution",
    "Factorial",
    "Gaussian",
    "HasMean",
    "Infused",
    "Reparametrised",
    "Reversible",
    "StraightThrough",
    "Wrapped",
    "kl_divergence",
    "register_kl",
]
