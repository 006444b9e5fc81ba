r"""The bound of Variational Walkback with its full gradient.

.. math:: L = E_q[\log w], \qquad \log w = \sum_{k=1}^{K} f_k, \qquad
    f_k = \log p_{T_k}(s_{k-1} | s_k) - \log q(s_k | s_{k-1}) + [k = K] \log p^*(s_K)

(walkback paper, eq. 8). q is the model too, so that the gradient also passes through the law of the
walk. Where draws are reparametrised it is that of log w itself. Elsewhere the score function gives it:

.. math:: \nabla L = E_q\Big[\sum_k \nabla f_k + (R_k - b_k) \nabla \log q(s_k | s_{k-1})\Big],
    \qquad R_k = \sum_{j \ge k} f_j

Earlier shares f_j, j < k, are settled once s_{k-1} is, and given s_{k-1} the score has mean zero, so
that they drop out, as does any baseline b_k that does not depend on s_k, s_{k+1}, ... of this walk.
For the same reason the score that :math:`\nabla f_k` contains is taken out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from chainkit.batch import Batch
from chainkit.chain import Chain
from chainkit.distributed import current
from chainkit.objective import Loss, Objective
from chainkit.process import ForwardProcess
from chainkit.random import Source
from chainkit.transition import Transition
from chainkit_walkback.heated import HeatedTransition

if TYPE_CHECKING:
    from chainkit.component import Context
    from chainkit_walkback.configs import BoundConfig

BASELINES = ("batch", "example", "none")


def baseline(to_go: Tensor, walks: int, kind: str) -> Tensor:
    """b_k of every walk: the mean of R_k over other walks, so that the gradient stays unbiased.

    Arguments:
        to_go: R_k, [K, B * walks], in nats; the walks of one example lie side by side.
        walks: Walks per example.
        kind: ``example``, over the other walks of the same example; ``batch``, over all others;
            ``none``, zero. It is zero as well where there are no others. The batch is that of all
            processes.

    Returns:
        A tensor of the shape of ``to_go``.
    """
    together = to_go.unflatten(1, (-1, walks if kind == "example" else to_go.shape[1]))
    sums, count = together.sum(2, keepdim=True), together.shape[2]
    if kind == "batch":
        sums, count = current().sum(sums), int(current().sum(torch.tensor(count)))
    if kind == "none" or count == 1:
        return torch.zeros_like(to_go)
    return ((sums - together) / (count - 1)).flatten(1)


class WalkbackBound(Objective):
    """The negative bound of eq. 8, an unbiased estimate, with an unbiased gradient.

    One loss per batch; memory grows with K, since the shares of later steps weigh the earlier ones.
    Batch statistics tie the walks of a batch together, beyond what a baseline can account for: with
    them the gradient is unbiased only in the limit of large batches.

    Arguments:
        walks: Walks per example, 1 or more.
        baseline: Where draws are not reparametrised: the mean over the other walks of the
            ``example``, of the ``batch``, or ``none``.

    Raises:
        ValueError: An argument outside its range, or ``example`` with a single walk.
    """

    def __init__(self, walks: int = 1, baseline: str = "batch") -> None:
        super().__init__()
        if walks < 1 or baseline not in BASELINES:
            raise ValueError(f"walks is 1 or more and baseline one of {', '.join(BASELINES)}, got {walks} and {baseline!r}")
        if baseline == "example" and walks == 1:
            raise ValueError("a baseline over the walks of an example needs 2 walks or more")
        self.walks = walks
        self.baseline = baseline

    def losses(self, chain: Chain, process: ForwardProcess, batch: Batch, *, source: Source = None) -> Iterator[Loss]:
        """Yields one loss, whose value is the negative bound.

        Arguments:
            chain: The generative chain.
            process: A process that walks away from data.
            batch: The examples.
            source: Where the random numbers come from.

        Raises:
            TypeError: Another kind of process, or kernels that are neither reparametrised nor have a density.
        """
        walk = process.walk(chain, batch.repeat(self.walks), source=source, path_gradient=True, with_log_ratio=True)
        shares, scores = zip(*map(_parts, walk), strict=True)
        share = torch.stack(shares)
        surrogate = share.sum(0)
        if any(score is not None for score in scores):
            to_go = share.detach().flip(0).cumsum(0).flip(0)
            # share holds -log q, whose score has mean zero; adding it back removes its variance.
            weight = 1 + to_go - baseline(to_go, self.walks, self.baseline)
            score = torch.stack([torch.zeros_like(surrogate) if score is None else score for score in scores])
            surrogate = surrogate + (weight * (score - score.detach())).sum(0)
        yield Loss(value=-surrogate.mean())


def _parts(transition: Transition) -> tuple[Tensor, Tensor | None]:
    """f_k, and log q(s_k | s_{k-1}) where the draw has no gradient: float64 [B] each, in nats."""
    if not isinstance(transition, HeatedTransition):
        raise TypeError("walkback-bound needs a process that walks away from data, such as heated")
    assert transition.log_ratio is not None
    if transition.pathwise:
        return transition.log_ratio.double(), None
    if transition.log_forward is None:
        raise TypeError(f"walkback-bound needs kernels with a density, not {type(transition.reverse).__name__}")
    return transition.log_ratio.double(), transition.log_forward.double()


def build(config: BoundConfig, context: Context) -> WalkbackBound:
    """The objective ``walkback-bound``."""
    return WalkbackBound(config.walks, config.baseline)
