r"""The importance-sampling estimate.

.. math:: \log p(x) \approx \log \frac1m \sum_{j=1}^{m} w_j, \qquad
    n_\text{eff} = \frac{(\sum_j w_j)^2}{\sum_j w_j^2}

(walkback paper, eq. 10; infusion paper, eq. 3.3.2 and note 4). In expectation it is a lower bound
that rises with m to log p(x); at m = 1 it is the variational bound. Its squared error is, to first
order (delta method),

.. math:: e^2 = \frac{\widehat{\mathrm{Var}}(w)}{m\, \bar w^2}
    = \frac{m}{m - 1} \left( \frac{1}{n_\text{eff}} - \frac1m \right)

and it falls short of log p(x) by about e^2 / 2. Both are understated where few walks carry the sum.
"""

from __future__ import annotations

import math

import attrs
import torch
from torch import Tensor

from chainkit import Chain, Context, Estimate, Estimator, ForwardProcess
from chainkit.data import Examples
from chainkit_estimators.configs import ImportanceConfig
from chainkit_estimators.factorial import factorial_log_prob
from chainkit_estimators.figures import labels, standard_errors, walked

COLLAPSED = 10.0


def log_mean_exp(weights: Tensor) -> Tensor:
    """``log(mean(exp(.)))`` over the last dimension."""
    return weights.logsumexp(-1) - math.log(weights.shape[-1])


def effective_size(weights: Tensor) -> Tensor:
    """Effective sample size of each row of log weights, from 1 to the number of walks."""
    return (2 * weights.logsumexp(-1) - (2 * weights).logsumexp(-1)).exp()


def curve_points(walks: int) -> list[int]:
    """1, 3, 10, 30, .. up to the number of walks, which is the last."""
    decades = range(len(str(walks)))
    return sorted({point for decade in decades for point in (10**decade, 3 * 10**decade) if point < walks} | {walks})


@attrs.frozen(kw_only=True)
class Importance(Estimator):
    """The log of the mean of w, averaged over the examples.

    ``details["curve"]`` holds pairs of a number of walks and the estimate with that many, each the
    mean over all disjoint groups of that many walks: it starts at the lower bound, and should be
    flat at its end. ``details["shortfall"]`` is the mean of e^2 / 2, in nats.

    Arguments:
        walks: Walks from each example, at least 1.
        max_rows: About how many walks to hold in memory at once.
    """

    walks: int = 1000
    max_rows: int = 4000

    def estimate(self, chain: Chain, process: ForwardProcess, examples: Examples) -> Estimate:
        """Estimates log p(x).

        Raises:
            NonFiniteError: A log w is not a number, or plus infinity.
        """
        points = curve_points(self.walks)
        sizes, curves = [], []
        for weights in walked("importance sampling", chain, process, examples, self.walks, self.max_rows):
            sizes.append(effective_size(weights))
            curves.append(torch.stack([self._with(weights, point) for point in points]))
        effective, curve = torch.cat(sizes), torch.cat(curves, 1)
        within = (1 / effective - 1 / self.walks).clamp_(min=0) * self.walks / (self.walks - 1) if self.walks > 1 else None
        over_examples, over_walks = standard_errors(curve[-1], within)
        details = {"curve": [[point, value] for point, value in zip(points, curve.mean(1).tolist(), strict=True)]}
        return Estimate(
            name="importance sampling",
            meaning="importance-sampling estimate of log p(x), in expectation a lower bound",
            value=curve[-1].mean().item(),
            error_examples=over_examples,
            error_walks=over_walks,
            walks=self.walks,
            baseline=factorial_log_prob(examples, self.max_rows)[1].mean().item(),
            effective=effective.mean().item(),
            effective_min=effective.min().item(),
            details=details if within is None else {**details, "shortfall": within.mean().item() / 2},
            warnings=self._warnings(effective),
            **labels(examples),
        )

    @staticmethod
    def _with(weights: Tensor, walks: int) -> Tensor:
        groups = weights.shape[1] // walks
        return log_mean_exp(weights[:, : groups * walks].unflatten(1, (groups, walks))).mean(1)

    def _warnings(self, effective: Tensor) -> tuple[str, ...]:
        least = min(COLLAPSED, self.walks / 2)
        collapsed = int((effective < least).sum())
        if not collapsed:
            return ()
        return (
            f"for {collapsed} of {len(effective)} examples fewer than {least:g} of {self.walks} walks carry the estimate: "
            f"it is below log p(x) by more than its errors say; read the curve over the number of walks",
        )


def build(config: ImportanceConfig, context: Context) -> Importance:
    """The estimator that a recipe describes."""
    return Importance(walks=config.walks, max_rows=config.max_rows)
