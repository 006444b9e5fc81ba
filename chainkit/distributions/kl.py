r"""Kullback-Leibler divergences in closed form.

.. math:: KL(q \,\|\, p) = E_q[\log q(s) - \log p(s)]
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from torch import Tensor
from torch.nn.functional import softplus

from chainkit.capabilities import Distribution
from chainkit.distributions.bernoulli import EXACT, Bernoulli
from chainkit.distributions.gaussian import Gaussian

Rule = TypeVar("Rule", bound=Callable[..., Tensor])

_RULES: dict[tuple[type, type], Callable[..., Tensor]] = {}


def register_kl(q: type[Distribution], p: type[Distribution]) -> Callable[[Rule], Rule]:
    """Registers the decorated function as KL(q || p) of two types of distribution.

    Arguments:
        q: Type of the first distribution.
        p: Type of the second one.
    """

    def register(rule: Rule) -> Rule:
        _RULES[q, p] = rule
        return rule

    return register


def kl_divergence(q: Distribution, p: Distribution) -> Tensor:
    """KL(q || p) of each row: [B], in nats.

    Raises:
        NotImplementedError: No closed form is registered for the two types.
    """
    for left in type(q).__mro__:
        for right in type(p).__mro__:
            if (left, right) in _RULES:
                return _RULES[left, right](q, p)
    raise NotImplementedError(f"no closed-form KL from {type(q).__name__} to {type(p).__name__}; register one with register_kl")


@register_kl(Gaussian, Gaussian)
def _gaussians(q: Gaussian, p: Gaussian) -> Tensor:
    ratio = q.variance / p.variance
    distance = (q.mean - p.mean).square() / p.variance
    return 0.5 * (ratio + distance - 1 - ratio.log()).flatten(1).sum(1)


@register_kl(Bernoulli, Bernoulli)
def _bernoullis(q: Bernoulli, p: Bernoulli) -> Tensor:
    elementwise = q.mean * (q.logits - p.logits) - softplus(q.logits, threshold=EXACT) + softplus(p.logits, threshold=EXACT)
    return elementwise.flatten(1).sum(1)
