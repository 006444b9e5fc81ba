r"""The Gaussian diffusion (Sohl-Dickstein et al. 2015, table App. 1; in the notation of Ho et al. 2020, eqs. 2, 4, 6 and 7).

.. math::
    q(s_k | s_{k-1}) &= N(\sqrt{1 - b_k}\, s_{k-1},\; b_k I) \\
    q(s_k | x) &= N(\sqrt{a_k}\, x,\; (1 - a_k) I), \qquad a_k = \prod_{i \le k} (1 - b_i) \\
    q(s_{k-1} | s_k, x) &= N\!\left(\frac{\sqrt{a_{k-1}}\, b_k}{1 - a_k} x + \frac{\sqrt{1 - b_k}\, (1 - a_{k-1})}{1 - a_k} s_k,\;
        \frac{1 - a_{k-1}}{1 - a_k} b_k I\right)
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from chainkit import Context, Schedule
from chainkit.distributions import Gaussian
from chainkit_diffusion.capabilities import GaussianSteps
from chainkit_diffusion.configs import GaussianDiffusionConfig
from chainkit_diffusion.process import FixedDiffusion
from chainkit_diffusion.schedules import FixedVariances
from chainkit_diffusion.steps import Shares, pick


@attrs.frozen(kw_only=True, eq=False)
class GaussianTable:
    """The numbers of a Gaussian diffusion, each a float64 tensor [K] indexed by k - 1.

    Arguments:
        variance: b_k.
        logit: log b_k - log(1 - b_k).
        log_kept: log a_k.
        decay: sqrt(1 - b_k).
        signal: sqrt(a_k).
        noise_variance: 1 - a_k.
        noise: sqrt(1 - a_k).
        from_origin: Weight of x in the posterior mean.
        from_state: Weight of s_k in the posterior mean.
        posterior_variance: Variance of the posterior; 0 at k = 1, where s_0 = x.
        reverse_variance: The same for reverse kernels, which need noise at k = 1 too: there b_1.
    """

    variance: Tensor
    logit: Tensor
    log_kept: Tensor
    decay: Tensor
    signal: Tensor
    noise_variance: Tensor
    noise: Tensor
    from_origin: Tensor
    from_state: Tensor
    posterior_variance: Tensor
    reverse_variance: Tensor


class GaussianDiffusion(FixedDiffusion[GaussianTable, Gaussian], GaussianSteps):
    """Data fades and standard normal noise takes its place.

    Arguments:
        schedule: b_1..b_K, each in (0, 1]; may be learned.
        steps: K, at least 1.

    Raises:
        ValueError: A variance outside (0, 1], or a schedule that does not go with K steps.
    """

    def tabulate(self, variances: Tensor) -> GaussianTable:
        shares = Shares.of(variances)
        decay = (1 - variances).sqrt()
        posterior_variance = variances * shares.lost_before / shares.lost
        return GaussianTable(
            variance=variances,
            logit=variances.logit(),
            log_kept=shares.log_kept,
            decay=decay,
            signal=(0.5 * shares.log_kept).exp(),
            noise_variance=shares.lost,
            noise=shares.lost.sqrt(),
            from_origin=shares.kept_before.sqrt() * variances / shares.lost,
            from_state=decay * shares.lost_before / shares.lost,
            posterior_variance=posterior_variance,
            reverse_variance=torch.cat([variances[:1], posterior_variance[1:]]),
        )

    def marginal_from(self, table: GaussianTable, origin: Tensor, k: int | Tensor) -> Gaussian:
        """q(s_k | x) = N(sqrt(a_k) x, (1 - a_k) I) (Ho et al. 2020, eq. 4)."""
        return Gaussian(pick(table.signal, k, origin) * origin, pick(table.noise_variance, k, origin))

    def posterior_from(self, table: GaussianTable, state: Tensor, origin: Tensor, k: int | Tensor) -> Gaussian:
        r"""q(s_{k-1} | s_k, x) (Ho et al. 2020, eqs. 6-7).

        .. math::
            N\!\left(\frac{\sqrt{a_{k-1}} b_k x + \sqrt{1 - b_k} (1 - a_{k-1}) s_k}{1 - a_k},
                     \frac{b_k (1 - a_{k-1})}{1 - a_k} I\right)
        """
        mean = pick(table.from_origin, k, state) * origin + pick(table.from_state, k, state) * state
        return Gaussian(mean, pick(table.posterior_variance, k, state))

    def step(self, state: Tensor, k: int | Tensor) -> Gaussian:
        table = self.table(state.device)
        return Gaussian(pick(table.decay, k, state) * state, pick(table.variance, k, state))

    @torch.no_grad()
    def respaced(self, steps: list[int]) -> GaussianDiffusion:
        """The diffusion that visits only some of the steps, of the same marginals there (Nichol & Dhariwal 2021, eq. 19).

        .. math:: b'_j = 1 - a_{i_j} / a_{i_{j-1}}

        Arguments:
            steps: i_1 < i_2 < .., the steps that are kept, the last one K.
        """
        log_kept = self.table(torch.device("cpu")).log_kept
        kept = torch.cat([log_kept.new_zeros(1), log_kept[torch.tensor(steps) - 1]])
        return GaussianDiffusion(FixedVariances((-kept.diff().expm1()).tolist()), len(steps))


def build(config: GaussianDiffusionConfig, context: Context) -> GaussianDiffusion:
    """The process that a recipe describes."""
    schedule: Schedule = context.build(config.schedule)
    return GaussianDiffusion(schedule, context.steps)
