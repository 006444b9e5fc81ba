r"""The binomial diffusion (Sohl-Dickstein et al. 2015, table App. 1, for any rate of the prior).

.. math::
    q(s_k | s_{k-1}) &= \mathrm{Bernoulli}((1 - b_k) s_{k-1} + b_k r) \\
    q(s_k | x) &= \mathrm{Bernoulli}(a_k x + (1 - a_k) r), \qquad a_k = \prod_{i \le k} (1 - b_i) \\
    \mathrm{logit}\, q(s_{k-1} = 1 | s_k, x) &= \log \frac{q(s_k | s_{k-1} = 1)}{q(s_k | s_{k-1} = 0)} + \mathrm{logit}\, q(s_{k-1} = 1 | x)

Every step redraws a bit from the prior's rate r with probability b_k. Log odds are formed from
sums of positive numbers, such as ``1 - (1 - a) r = a + (1 - a)(1 - r)``, so that nothing cancels.
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from chainkit import Context, Schedule
from chainkit.distributions import Bernoulli
from chainkit_diffusion.capabilities import BinomialSteps
from chainkit_diffusion.configs import BinomialDiffusionConfig
from chainkit_diffusion.process import FixedDiffusion
from chainkit_diffusion.steps import Shares, pick


@attrs.frozen(kw_only=True, eq=False)
class BinomialTable:
    """The numbers of a binomial diffusion, each a float64 tensor [K] indexed by k - 1.

    Arguments:
        variance: b_k, the probability that step k redraws a bit.
        keep: 1 - b_k.
        shares: a_k and 1 - a_k.
    """

    variance: Tensor
    keep: Tensor
    shares: Shares


class BinomialDiffusion(FixedDiffusion[BinomialTable, Bernoulli], BinomialSteps):
    """Bits are redrawn from the prior, more and more of them.

    Arguments:
        schedule: b_1..b_K, each in (0, 1]; not learned, since draws of bits have no gradient.
        steps: K, at least 1.
        rate: r, the rate of the prior, a number or [*event], inside (0, 1).

    Raises:
        ValueError: A variance outside (0, 1], a rate outside (0, 1), a learned schedule, or one
            that does not go with K steps.
    """

    logits: Tensor

    def __init__(self, schedule: Schedule, steps: int, rate: float | Tensor = 0.5) -> None:
        super().__init__(schedule, steps)
        if list(schedule.parameters()):
            raise ValueError("a binomial diffusion cannot learn its schedule: draws of bits have no gradient")
        rates = torch.as_tensor(rate, dtype=torch.float64)
        if not bool(((rates > 0) & (rates < 1)).all()):
            raise ValueError("a binomial diffusion has rates inside (0, 1)")
        self.register_buffer("logits", rates.logit())

    def tabulate(self, variances: Tensor) -> BinomialTable:
        return BinomialTable(variance=variances, keep=1 - variances, shares=Shares.of(variances))

    def marginal_from(self, table: BinomialTable, origin: Tensor, k: int | Tensor) -> Bernoulli:
        shares = table.shares
        return Bernoulli(self._mixed(origin, pick(shares.kept, k, origin), pick(shares.lost, k, origin)))

    def posterior_from(self, table: BinomialTable, state: Tensor, origin: Tensor, k: int | Tensor) -> Bernoulli:
        shares = table.shares
        before = self._mixed(origin, pick(shares.kept_before, k, state), pick(shares.lost_before, k, state))
        redraw = pick(table.variance, k, state)
        stay = pick(table.keep, k, state)
        return Bernoulli(before + self._evidence(state, stay, redraw))

    def step(self, state: Tensor, k: int | Tensor) -> Bernoulli:
        table = self.table(state.device)
        return Bernoulli(self._mixed(state, pick(table.keep, k, state), pick(table.variance, k, state)))

    def _rates(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """r and 1 - r, each to its last digit."""
        logits = self.logits.to(like.dtype)
        return logits.sigmoid(), (-logits).sigmoid()

    def _mixed(self, bits: Tensor, kept: Tensor, lost: Tensor) -> Tensor:
        """Log odds of ``kept * bits + lost * r``, where kept + lost = 1."""
        on, off = self._rates(bits)
        if_one = (kept + lost * on).log() - (lost * off).log()
        if_zero = (lost * on).log() - (kept + lost * off).log()
        return torch.where(bits > 0.5, if_one, if_zero)

    def _evidence(self, state: Tensor, stay: Tensor, redraw: Tensor) -> Tensor:
        """``log q(s_k | s_{k-1} = 1) - log q(s_k | s_{k-1} = 0)``."""
        on, off = self._rates(state)
        if_one = (stay + redraw * on).log() - (redraw * on).log()
        if_zero = (redraw * off).log() - (stay + redraw * off).log()
        return torch.where(state > 0.5, if_one, if_zero)


def build(config: BinomialDiffusionConfig, context: Context) -> BinomialDiffusion:
    """The process that a recipe describes, with the rates of its prior.

    Raises:
        ValueError: The prior is not one of independent bits.
    """
    prior = context.prior(1)
    if not isinstance(prior, Bernoulli):
        raise ValueError(f"a binomial diffusion ends in the rates of its prior, which must be Bernoulli, not {type(prior).__name__}")
    schedule: Schedule = context.build(config.schedule)
    return BinomialDiffusion(schedule, context.steps, prior.logits[0].detach().double().sigmoid())
