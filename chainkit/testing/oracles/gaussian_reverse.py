r"""The exact reverse of a diffusion of Gaussian data.

With data N(m, S) and marginals ``q(s_k | x) = N(c_k x, v_k I)``, s_k is N(c_k m, Sigma_k) with
``Sigma_k = c_k^2 S + v_k I``, and with ``f = c_k / c_{k-1}``

.. math::
    q(s_{k-1} | s_k) = N\left(c_{k-1} m + G_k (s_k - c_k m),\; \Sigma_{k-1} - f\, G_k \Sigma_{k-1}\right), \qquad
    G_k = f\, \Sigma_{k-1} \Sigma_k^{-1}

by conditioning (G_k and Sigma_{k-1} commute, both being functions of S). With it and the prior q(s_K),
log w is log p(x) on every walk, for every K. With the variance b_k = v_k - f^2 v_{k-1} of the forward
step in place of the exact one, as in the limit of many steps, the bound misses log p(x) by a gap that
falls as 1 / K (Sohl-Dickstein et al. 2015, section 2.2, for small steps; here exactly known).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from chainkit.capabilities import Marginals
from chainkit.chain import Chain
from chainkit.operator import TransitionOperator
from chainkit.prior import Prior
from chainkit.testing.oracles.full_gaussian import FullGaussian, FullGaussianKernel


class _End(Prior):
    """q(s_K), where the walks end."""

    mean: Tensor
    covariance: Tensor

    def __init__(self, mean: Tensor, covariance: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("covariance", covariance)

    def forward(self, rows: int) -> FullGaussian:
        return FullGaussian(self.mean.expand(rows, *self.mean.shape), self.covariance)


class GaussianReverse(TransitionOperator):
    """q(s_{k-1} | s_k) of data N(m, S), which has nothing to be learned.

    Arguments:
        process: A diffusion with Gaussian marginals N(c_k x, v_k I), float64.
        steps: K.
        mean: m, [*event], float64.
        covariance: S, [D, D], positive definite, float64.
        exact: Whether the variance is the exact one; otherwise b_k.
    """

    def __init__(self, process: Marginals, steps: int, mean: Tensor, covariance: Tensor, *, exact: bool = True) -> None:
        super().__init__()
        self.mean = mean
        self.covariance = covariance
        self.exact = exact
        self.laws = [(1.0, 0.0), *(_marginal(process, k, mean) for k in range(1, steps + 1))]

    def spread(self, k: int) -> Tensor:
        """Sigma_k, [D, D], for k = 0..K."""
        kept, noise = self.laws[k]
        return kept**2 * self.covariance + noise * torch.eye(len(self.covariance), dtype=self.covariance.dtype)

    def forward(self, state: Tensor, k: int | Tensor, condition: Any = None) -> FullGaussianKernel:
        """The kernel.

        Raises:
            TypeError: The step is a tensor.
        """
        if not isinstance(k, int):
            raise TypeError("the exact reverse is known for one step at a time")
        before, kept = self.laws[k - 1][0], self.laws[k][0]
        gain, exact, forward = self._step(k)
        mean = before * self.mean + ((state - kept * self.mean).flatten(1) @ gain.mT).view_as(state)
        return FullGaussianKernel(mean, exact if self.exact else forward)

    def _step(self, k: int) -> tuple[Tensor, Tensor, Tensor]:
        """G_k, the exact variance and that of the forward step, each [D, D]."""
        (before, quiet), (kept, noise) = self.laws[k - 1], self.laws[k]
        fade, spread = kept / before, self.spread(k - 1)
        gain = fade * torch.linalg.solve(self.spread(k), spread)
        forward = (noise - fade**2 * quiet) * torch.eye(len(gain), dtype=gain.dtype)
        return gain, spread - fade * gain @ spread, forward

    def chain(self) -> Chain:
        """The chain of this operator and the prior q(s_K)."""
        steps = len(self.laws) - 1
        return Chain(_End(self.laws[steps][0] * self.mean, self.spread(steps)), self, steps)

    def log_prob(self, chain: Chain, x: Tensor) -> Tensor:
        """log p(x) of the exact chain, which is log N(x; m, S): [B], in nats.

        Arguments:
            chain: A chain of this operator, with the exact variance and the prior q(s_K).
            x: Data points, [B, *event].
        """
        return FullGaussian(self.mean.expand_as(x), self.covariance).log_prob(x)

    def gap(self) -> float:
        """log p(x) - E_q[log w] in nats, averaged over the data, where the variance is that of the forward step.

        It is the sum of the divergences of the exact kernels from the ones taken, whose means are the same.
        """
        total = 0.0
        for k in range(1, len(self.laws)):
            _, exact, forward = self._step(k)
            ratio = torch.linalg.solve(forward, exact)
            total += 0.5 * float(ratio.trace() - len(ratio) - torch.logdet(ratio))
        return total


def _marginal(process: Marginals, k: int, like: Tensor) -> tuple[float, float]:
    """c_k and v_k."""
    law: Any = process.marginal(torch.ones(1, *like.shape, dtype=like.dtype), k)
    return float(law.mean.flatten()[0]), float(law.variance.flatten()[0])
