r"""The variational lower bound.

.. math:: \log p(x) \ge E_q[\log w], \qquad \log w = \log p(x, s_1..s_K) - \log q(s_1..s_K | x)

(walkback paper, eq. 8; infusion paper, eq. 3.3.3). log w is a sum over the steps, and so is the
bound: the curve ``steps`` says where it is lost.
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from chainkit import Chain, Context, Estimate, Estimator, ForwardProcess
from chainkit.capabilities import Divisible
from chainkit.config import at_least
from chainkit.curve import Curve
from chainkit.data import Examples
from chainkit.transition import log_ratio_by_step
from chainkit_estimators.configs import LowerBoundConfig
from chainkit_estimators.factorial import factorial_log_prob
from chainkit_estimators.figures import labels, law, points, standard_errors, walked


@attrs.frozen(kw_only=True)
class LowerBound(Estimator, Divisible):
    """The mean of log w over walks and examples.

    Arguments:
        walks: Walks from each example, at least 1; with one alone, the noise of the walks is part
            of the error from the examples.
        max_rows: About how many walks to hold in memory at once.
    """

    walks: int = attrs.field(default=10, validator=at_least(1))
    max_rows: int = attrs.field(default=4000, validator=at_least(1))

    def estimate(self, chain: Chain, process: ForwardProcess, examples: Examples) -> Estimate:
        """Estimates the bound.

        Raises:
            NonFiniteError: A log w is not a number, or plus infinity.
        """
        blocks = walked(
            "lower bound", chain, process, examples, self.walks, self.max_rows, reduction=log_ratio_by_step, numbers=chain.steps
        )
        correction = min(1, self.walks - 1)
        values, within, shares = [], [], []
        for block in blocks:
            weights = block.sum(2)
            values.append(weights.mean(1))
            within.append(weights.var(1, correction=correction) / self.walks)
            shares.append(block.mean(1))
        each = torch.cat(values)
        over_examples, over_walks = standard_errors(each, torch.cat(within) if self.walks > 1 else None)
        return Estimate(
            name="lower bound",
            meaning=f"lower bound on {law(examples.data)}",
            value=each.mean().item(),
            error_examples=over_examples,
            error_walks=over_walks,
            walks=self.walks,
            baseline=factorial_log_prob(examples, self.max_rows)[1].mean().item(),
            curves=(share_curve(torch.cat(shares)),),
            **labels(examples),
        )


def share_curve(shares: Tensor) -> Curve:
    """What every step adds to the bound; the points sum to it, and k = K holds the prior's term.

    Arguments:
        shares: Mean share over the walks from each example, [n, K], in nats.
    """
    errors = shares.std(0) / len(shares) ** 0.5 if len(shares) > 1 else None
    return Curve(
        name="steps",
        x="step k, from data to noise",
        y="share of the step in the bound",
        unit="nats",
        points=points(range(1, shares.shape[1] + 1), shares.mean(0), errors),
        error="standard error over examples and walks",
    )


def build(config: LowerBoundConfig, context: Context) -> LowerBound:
    """The estimator that a recipe describes."""
    return LowerBound(walks=config.walks, max_rows=config.max_rows)
