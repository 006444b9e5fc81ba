r"""The variational lower bound.

.. math:: \log p(x) \ge E_q[\log w], \qquad \log w = \log p(x, s_1..s_K) - \log q(s_1..s_K | x)

(walkback paper, eq. 8; infusion paper, eq. 3.3.3).
"""

from __future__ import annotations

import attrs
import torch

from chainkit import Chain, Context, Estimate, Estimator, ForwardProcess
from chainkit.data import Examples
from chainkit_estimators.configs import LowerBoundConfig
from chainkit_estimators.factorial import factorial_log_prob
from chainkit_estimators.figures import labels, standard_errors, walked


@attrs.frozen(kw_only=True)
class LowerBound(Estimator):
    """The mean of log w over walks and examples.

    Arguments:
        walks: Walks from each example, at least 1; with one alone, the noise of the walks is part
            of the error from the examples.
        max_rows: About how many walks to hold in memory at once.
    """

    walks: int = 10
    max_rows: int = 4000

    def estimate(self, chain: Chain, process: ForwardProcess, examples: Examples) -> Estimate:
        """Estimates the bound.

        Raises:
            NonFiniteError: A log w is not a number, or plus infinity.
        """
        blocks = walked("lower bound", chain, process, examples, self.walks, self.max_rows)
        correction = min(1, self.walks - 1)
        moments = [torch.stack([block.mean(1), block.var(1, correction=correction) / self.walks]) for block in blocks]
        values, within = torch.cat(moments, 1)
        over_examples, over_walks = standard_errors(values, within if self.walks > 1 else None)
        return Estimate(
            name="lower bound",
            meaning="lower bound on log p(x)",
            value=values.mean().item(),
            error_examples=over_examples,
            error_walks=over_walks,
            walks=self.walks,
            baseline=factorial_log_prob(examples, self.max_rows)[1].mean().item(),
            **labels(examples),
        )


def build(config: LowerBoundConfig, context: Context) -> LowerBound:
    """The estimator that a recipe describes."""
    return LowerBound(walks=config.walks, max_rows=config.max_rows)
