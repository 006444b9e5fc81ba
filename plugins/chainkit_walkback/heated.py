r"""The forward process of Variational Walkback: the operator itself, heated.

.. math:: q(s_1..s_K | x) = \prod_{k=1}^{K} p_{T_k}(s_k | s_{k-1}), \qquad s_0 = x

(walkback paper, eq. 9 and Algorithm 1). The kernel that one network evaluation at s_k gives serves
twice: at T_k it is p(s_{k-1} | s_k), the way back, and at T_{k+1} it is q(s_{k+1} | s_k), the next
step away. A walk thus costs K + 1 evaluations, the one at s_0 serving only to draw s_1. Where the
operator depends on the step, s_k is evaluated with index max(k, 1), and log w uses exactly this q:
eq. 8 bounds log p(x) for any q.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import attrs
import torch
from torch import Tensor

from chainkit.batch import Batch
from chainkit.capabilities import Density, Distribution, Reparametrised
from chainkit.kernel import Kernel
from chainkit.modes import frozen_statistics
from chainkit.process import ForwardProcess
from chainkit.random import Source
from chainkit.states import State
from chainkit.transition import Transition, log_ratio
from chainkit_walkback.capabilities import WalksAway

if TYPE_CHECKING:
    from chainkit.chain import Chain
    from chainkit.component import Context
    from chainkit_walkback.configs import HeatedConfig


@attrs.frozen(kw_only=True, eq=False)
class HeatedTransition(Transition):
    """One step of a walk away from data; ``log_ratio`` has log p*(s_K) added at k = K.

    Arguments:
        log_forward: log q(s_k | s_{k-1}), [B], in nats, as it was when s_k was drawn; None unless
            ``log_ratio`` is asked for, and where the operator's kernels have no density.
        pathwise: Whether the draw of s_k is reparametrised, with its gradient kept.
    """

    log_forward: Tensor | None = None
    pathwise: bool = False


@attrs.frozen(kw_only=True, eq=False)
class _Draw:
    """s_k with all that is kept of the distribution that it was drawn from."""

    state: State
    log_forward: Tensor | None
    pathwise: bool


class HeatedProcess(ForwardProcess, WalksAway):
    r"""Walks away from data with the chain's own operator, ever hotter.

    Step k adds to log w, in nats,

    .. math:: \log p_{T_k}(s_{k-1} | s_k) - \log p_{T_k}(s_k | s_{k-1}) + [k = K] \log p^*(s_K)

    (walkback paper, eq. 8); kernels without a density that are reversible for a known target give
    ``log pi(s_{k-1}) - log pi(s_k)`` at T_k instead, the step of annealed importance sampling.

    With ``path_gradient`` the draws are reparametrised where the kernels are, and ``log_ratio`` has
    the gradient of both its densities. Otherwise no graph reaches beyond one step: s_0 is evaluated
    without one, every state is detached, q is held fixed, and ``log_ratio`` has the gradient of the
    way back alone.
    """

    def walk(
        self, chain: Chain, batch: Batch, *, source: Source = None, path_gradient: bool = False, with_log_ratio: bool = False
    ) -> Iterator[HeatedTransition]:
        """Walks k = 1..K, s_{k+1} being drawn before the transition at k is handed out.

        Arguments:
            chain: The generative chain; its operator is evaluated K + 1 times.
            batch: The examples, one walk each.
            source: Where the random numbers come from.
            path_gradient: Keep the gradient through the draws and of log q.
            with_log_ratio: Fill in ``log_ratio`` and ``log_forward``.

        Raises:
            TypeError: ``log_ratio`` is wanted of kernels with neither a density nor a known target.
        """
        step = _Step(chain, batch, source, path_gradient, with_log_ratio)
        previous, drawn = batch.origin, step.leave()
        for k in range(1, chain.steps + 1):
            transition, following = step.take(k, previous, drawn)
            previous, drawn = drawn.state, following
            yield transition
            del transition


@attrs.frozen
class _Step:
    """The settings of one walk, and what happens at each of its states."""

    chain: Chain
    batch: Batch
    source: Source
    path_gradient: bool
    with_log_ratio: bool

    def leave(self) -> _Draw:
        """Draws s_1; running statistics are those of the states that the operator is trained on, without s_0."""
        with self._gradient(), frozen_statistics(self.chain.operator):
            kernel = self.chain.operator(self.batch.origin, 1, self.batch.condition)
        return self._draw(kernel, self.chain.temperatures()[0])

    def take(self, k: int, previous: State, drawn: _Draw) -> tuple[HeatedTransition, _Draw]:
        """The transition at s_k, and s_{k+1} (s_K again where the walk ends)."""
        kernel = self.chain.operator(drawn.state, k, self.batch.condition)
        # Learned temperatures get a graph per step, since the consumer may free it before the next one.
        temperatures = self.chain.temperatures()
        reverse = kernel.at(temperatures[k - 1])
        transition = HeatedTransition(
            k=k,
            steps=self.chain.steps,
            state=drawn.state,
            previous=previous,
            origin=self.batch.origin,
            condition=self.batch.condition,
            reverse=reverse,
            log_ratio=self._log_ratio(k, reverse, previous, drawn) if self.with_log_ratio else None,
            log_forward=drawn.log_forward,
            pathwise=drawn.pathwise,
        )
        return transition, self._draw(kernel, temperatures[k]) if k < self.chain.steps else drawn

    def _gradient(self) -> torch.set_grad_enabled:
        return torch.set_grad_enabled(self.path_gradient and torch.is_grad_enabled())

    def _draw(self, kernel: Kernel, temperature: float | Tensor) -> _Draw:
        with self._gradient():
            forward = kernel.at(temperature)
            if self.path_gradient and isinstance(forward, Reparametrised):
                state, pathwise = forward.rsample(self.source), True
            else:
                state, pathwise = forward.sample(self.source), False
            log_forward = forward.log_prob(state) if self.with_log_ratio and isinstance(forward, Density) else None
        return _Draw(state=state, log_forward=log_forward, pathwise=pathwise)

    def _log_ratio(self, k: int, reverse: Distribution, previous: State, drawn: _Draw) -> Tensor:
        if isinstance(reverse, Density) and drawn.log_forward is not None:
            share = reverse.log_prob(previous) - drawn.log_forward
        else:
            share = log_ratio(reverse, previous, reverse, drawn.state)
        return share + self.chain.prior(self.batch.rows).log_prob(drawn.state) if k == self.chain.steps else share


def build(config: HeatedConfig, context: Context) -> HeatedProcess:
    """The process ``heated``."""
    return HeatedProcess()
