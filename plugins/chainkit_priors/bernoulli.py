r"""The prior of independent bits.

.. math:: p^*(s_K) = \prod_i r_i^{s_{K,i}} (1 - r_i)^{1 - s_{K,i}}
"""

from __future__ import annotations

import torch
from torch import Tensor

from chainkit import Context, Prior
from chainkit.distributions import Bernoulli
from chainkit_priors.configs import BernoulliConfig


class BernoulliPrior(Prior):
    """p*(s_K), one rate per element; the rates are a buffer (as logits) and are not trained.

    Arguments:
        rate: r, the probability of a 1, [*event], each in [0, 1].
        margin: Rates are kept within [margin, 1 - margin], above 0 and at most 1/2.

    Raises:
        ValueError: A rate outside [0, 1], or a margin outside (0, 1/2].
    """

    logits: Tensor

    def __init__(self, rate: Tensor, margin: float = 1e-3) -> None:
        super().__init__()
        if not ((rate >= 0) & (rate <= 1)).all():
            raise ValueError("a Bernoulli prior has rates in [0, 1]")
        if not 0 < margin <= 0.5:
            raise ValueError(f"the margin lies above 0 and at most at 1/2, not {margin}")
        self.register_buffer("logits", rate.double().clamp(margin, 1 - margin).logit().to(rate.dtype))

    @classmethod
    def fit(cls, examples: Tensor, *, margin: float = 1e-3, per_dimension: bool = True) -> BernoulliPrior:
        """The prior with the rates of ``examples``, [N, *event] of zeros and ones.

        Arguments:
            examples: The data.
            margin: As above.
            per_dimension: Whether every element keeps its own rate; otherwise all share the overall one.
        """
        rate = examples.double().mean(0)
        pooled = rate if per_dimension else rate.mean().expand_as(rate)
        return cls(pooled.to(examples.dtype), margin)

    def forward(self, rows: int) -> Bernoulli:
        return Bernoulli(self.logits.expand(rows, *self.logits.shape))


def build(config: BernoulliConfig, context: Context) -> BernoulliPrior:
    """The prior that a recipe describes."""
    data = context.data
    if config.rate is None and config.fit:
        rate = data.mean if config.per_dimension else data.mean.mean().expand(data.shape)
    else:
        rate = torch.full(data.shape, 0.5 if config.rate is None else config.rate)
    return BernoulliPrior(rate, config.margin)
