r"""Chains whose every step is linear-Gaussian, in closed form.

.. math:: p(s_{k-1} | s_k) = N(A_k s_k + b_k, V_k), \qquad p^*(s_K) = N(\mu_K, \Sigma_K)

gives p(s_0) = N(mu_0, Sigma_0) by ``mu_{k-1} = A_k mu_k + b_k`` and ``Sigma_{k-1} = A_k Sigma_k A_k^T + V_k``.
A, b and V are read off the operator, by asking it about 0 and the unit vectors; an operator that is
not of this form is refused. Where the process is a chain of such steps too, so is E_q[log w].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import attrs
import torch
from torch import Tensor

from chainkit.capabilities import Distribution
from chainkit.chain import Chain
from chainkit.distributions import Gaussian
from chainkit.testing.oracles.full_gaussian import FullGaussian

PROBES = torch.tensor([1.0, -0.5, 3.0], dtype=torch.float64)
"""Where, along a line, a mean that is linear at 0 and the unit vectors has to go on so."""

Forward = Callable[[Tensor, int], Distribution]


@attrs.frozen(kw_only=True, eq=False)
class Affine:
    """N(A s + b, V).

    Arguments:
        matrix: A, [D, D].
        shift: b, [D].
        covariance: V, [D, D].
    """

    matrix: Tensor
    shift: Tensor
    covariance: Tensor

    @classmethod
    def read(cls, law: Callable[[Tensor], Distribution], shape: Sequence[int]) -> Affine:
        """What a function from a state to a distribution is, with gradient.

        Arguments:
            law: From states [B, *event] to the distribution of the next ones.
            shape: Shape of one state.

        Raises:
            TypeError: The distribution is no Gaussian.
            ValueError: Its mean is not linear in the state, or its variance not constant.
        """
        size = math.prod(shape)
        probes = PROBES[:, None] * torch.linspace(-1.3, 0.7, size, dtype=torch.float64)
        asked = torch.cat([torch.zeros(1, size, dtype=torch.float64), torch.eye(size, dtype=torch.float64), probes])
        found = law(asked.view(-1, *shape))
        mean, covariance, spread = _moments(found)
        shift, matrix = mean[0], (mean[1 : 1 + size] - mean[0]).mT
        near = partial(torch.allclose, rtol=1e-9, atol=1e-12)
        if not near(mean[1 + size :], probes @ matrix.mT + shift) or not near(spread, spread[:1]):
            raise ValueError("not linear-Gaussian: the mean is not linear in the state, or the variance not constant")
        return cls(matrix=matrix, shift=shift, covariance=covariance)

    def pushed(self, mean: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
        """Moments of the next state, from those of this one.

        Arguments:
            mean: [..., D].
            covariance: [D, D].
        """
        return mean @ self.matrix.mT + self.shift, self.matrix @ covariance @ self.matrix.mT + self.covariance


class LinearGaussian:
    """Exact figures of linear-Gaussian chains.

    Arguments:
        shape: Shape of one state.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        self.shape = tuple(shape)

    def step(self, chain: Chain, k: int) -> Affine:
        """A_k, b_k and V_k at temperature T_k.

        Raises:
            TypeError: See :meth:`Affine.read`.
            ValueError: Likewise.
        """
        return Affine.read(lambda state: chain.operator(state, k).at(chain.temperatures()[k - 1]), self.shape)

    def moments(self, chain: Chain) -> tuple[Tensor, Tensor]:
        """Mean [D] and covariance [D, D] of x, with gradient.

        Arguments:
            chain: The chain, float64.
        """
        (mean,), covariance, _ = _moments(chain.prior(1))
        for k in range(chain.steps, 0, -1):
            mean, covariance = self.step(chain, k).pushed(mean, covariance)
        return mean, covariance

    def log_prob(self, chain: Chain, x: Tensor) -> Tensor:
        """log p(x), exactly: [B], in nats, with gradient.

        Arguments:
            chain: The chain, float64.
            x: Data points, [B, *event].
        """
        mean, covariance = self.moments(chain)
        return FullGaussian(mean.expand(len(x), -1), covariance).log_prob(x)

    def bound(self, chain: Chain, forward: Forward, x: Tensor) -> Tensor:
        """E_q[log w], exactly: [B], in nats, with gradient.

        Arguments:
            chain: The chain, float64.
            forward: q(s_k | s_{k-1}), from (s_{k-1}, k); linear-Gaussian too.
            x: Data points, [B, *event].
        """
        mean, size = x.flatten(1), math.prod(self.shape)
        covariance, total = torch.zeros(size, size, dtype=x.dtype), torch.zeros(len(x), dtype=x.dtype)
        for k in range(1, chain.steps + 1):
            away, back = Affine.read(lambda state, k=k: forward(state, k), self.shape), self.step(chain, k)  # type: ignore[misc]
            after, spread = away.pushed(mean, covariance)
            miss = mean - after @ back.matrix.mT - back.shift
            left = torch.eye(size, dtype=x.dtype) - back.matrix @ away.matrix
            residual = left @ covariance @ left.mT + back.matrix @ away.covariance @ back.matrix.mT
            entropy = 0.5 * torch.logdet(2 * math.pi * math.e * away.covariance)
            total = total + _cross(miss, residual, back.covariance) + entropy
            mean, covariance = after, spread
        end, width, _ = _moments(chain.prior(1))
        return total + _cross(mean - end, covariance, width)


def _cross(miss: Tensor, residual: Tensor, covariance: Tensor) -> Tensor:
    """E[log N(r; 0, V)] of r with mean ``miss`` [B, D] and covariance ``residual``."""
    scaled = torch.linalg.solve(covariance, miss.mT).mT
    inner = (miss * scaled).sum(1) + torch.linalg.solve(covariance, residual).trace()
    return -0.5 * (inner + torch.logdet(2 * math.pi * covariance))


def _moments(law: Distribution) -> tuple[Tensor, Tensor, Tensor]:
    """Means [B, D] and covariance [D, D] of a Gaussian; and what of the covariance differs by row, to be compared."""
    if isinstance(law, FullGaussian):
        return law.mean.flatten(1), law.covariance, law.covariance[None]
    if not isinstance(law, Gaussian):
        raise TypeError(f"not linear-Gaussian: {type(law).__name__}")
    rows = law.variance.expand_as(law.mean).flatten(1)
    return law.mean.flatten(1), rows[0].diag(), rows
