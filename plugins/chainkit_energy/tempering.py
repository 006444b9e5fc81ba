r"""Factorial distributions on the way to a reference.

.. math:: p_T(s) \propto p(s)^{1/T}\, r(s)^{1 - 1/T}

For bits the logits are averaged, for Gaussians the precisions, and the means weighted by them.
Without a reference (r flat) logits are divided by T and variances multiplied.
"""

from __future__ import annotations

from typing import Any

from chainkit.distributions import Bernoulli, Gaussian
from chainkit.kernel import divisor


def tempered(law: Bernoulli | Gaussian, temperature: Any, reference: Any = None) -> Bernoulli | Gaussian:
    """The law at a temperature.

    Arguments:
        law: p, [B, *event].
        temperature: T > 0, one number or one per row [B].
        reference: r, of the same kind as ``law``; None is flat.

    Raises:
        TypeError: The reference is of another kind.
    """
    if isinstance(law, Bernoulli) and isinstance(reference, (Bernoulli, type(None))):
        share = 1 / divisor(temperature, law.logits)
        logits = share * law.logits
        return Bernoulli(logits if reference is None else logits + (1 - share) * reference.logits)
    if isinstance(law, Gaussian) and isinstance(reference, (Gaussian, type(None))):
        share = 1 / divisor(temperature, law.mean)
        if reference is None:
            return Gaussian(law.mean, law.variance / share)
        own, other = share / law.variance, (1 - share) / reference.variance
        return Gaussian((own * law.mean + other * reference.mean) / (own + other), 1 / (own + other))
    raise TypeError(f"there is no law between a {type(law).__name__} and a {type(reference).__name__}; a flat reference has no kind")
