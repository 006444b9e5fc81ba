r"""How much importance sampling gains over the variational bound.

.. math:: g = E_x\left[\log \frac1m \sum_j w_j - \frac1m \sum_j \log w_j\right] \ge 0

With many walks it is KL(q(s_1..s_K | x) || p(s_1..s_K | x)): how far the process walks from what the
model would say about the way to x.
"""

from __future__ import annotations

import math

import attrs

from chainkit import Chain, Context, Estimate, Estimator, ForwardProcess, log_weights
from chainkit.data import Examples
from chainkit.errors import NonFiniteError
from chainkit_placeholder.configs import EstimatorConfig


@attrs.frozen(kw_only=True)
class Gap(Estimator):
    """The estimator.

    Arguments:
        walks: m, 2 or more.
    """

    walks: int = 20

    def estimate(self, chain: Chain, process: ForwardProcess, examples: Examples) -> Estimate:
        """Estimates the gap.

        Raises:
            NonFiniteError: A log w is not a finite number.
        """
        weights = log_weights(chain, process, examples, self.walks)
        if not bool(weights.isfinite().all()):
            raise NonFiniteError("bound gap: log w is not a finite number")
        gaps = weights.logsumexp(1) - math.log(self.walks) - weights.mean(1)
        return Estimate(
            name="bound gap",
            meaning="gain of importance sampling over the lower bound",
            value=float(gaps.mean()),
            error_examples=float(gaps.std() / len(gaps) ** 0.5) if len(gaps) > 1 else None,
            walks=self.walks,
            examples=len(examples),
            split=examples.split,
            preparation=examples.data.preparation.words,
            dim=examples.data.summary.dim,
            seed=examples.seed,
            likelihood=False,
        )


def build(config: EstimatorConfig, context: Context) -> Gap:
    """The estimator that a recipe describes."""
    return Gap(walks=config.walks)
