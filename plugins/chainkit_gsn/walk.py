r"""The walk of walkback training: from a data point, by the chain itself.

.. math:: q(s_1..s_K | x) = q(s_1 | x) \prod_{k=1}^{K-1} p(s_{k+1} | s_k)

(chapter 20.11.3 of Goodfellow, Bengio and Courville): corrupt x, then reconstruct, draw and corrupt
again. At every state p(x | s_k) is what is trained. The evaluation at s_k serves three times: for
p(x | s_k), for p(s_{k-1} | s_k), and for drawing s_{k+1}; a walk costs K of them.

Where all three laws have densities, as in an autoencoder's chain, log w is exact, with

.. math:: \log p(s_{k-1} | s_k) - \log q(s_k | s_{k-1}) + [k = K] \log p^*(s_K)

as the share of step k: the chain of K steps that starts at the prior is a model like any other. With
masking, walks reach only states without ones where x has zeros, so that E[w] stays below p(x).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import attrs
import torch
from torch import Tensor

from chainkit.batch import Batch
from chainkit.capabilities import Density, Distribution, Reparametrised
from chainkit.process import ForwardProcess
from chainkit.random import Source
from chainkit.states import State
from chainkit.transition import Transition
from chainkit_gsn.capabilities import Reconstructs, WalksBack
from chainkit_gsn.kernel import DenoisingKernel

if TYPE_CHECKING:
    from chainkit.chain import Chain
    from chainkit.component import Context
    from chainkit_gsn.configs import WalkbackProcessConfig


@attrs.frozen(kw_only=True, eq=False)
class WalkbackTransition(Transition):
    """One step of a walk.

    Arguments:
        reconstruction: p(x | s_k), with gradient.
    """

    reconstruction: Density


class WalkbackProcess(ForwardProcess, WalksBack):
    """Walks from data by the chain's own steps; needs an operator that denoises.

    With ``path_gradient`` states keep their gradient to the steps before where they are
    reparametrised, as hidden layers are; bits that are drawn pass none on.
    """

    def walk(
        self, chain: Chain, batch: Batch, *, source: Source = None, path_gradient: bool = False, with_log_ratio: bool = False
    ) -> Iterator[WalkbackTransition]:
        """Walks k = 1..K, s_{k+1} being drawn before the transition at k is handed out.

        Arguments:
            chain: The generative chain; its operator is evaluated K times.
            batch: The examples, one walk each.
            source: Where the random numbers come from.
            path_gradient: Keep the gradient through the draws.
            with_log_ratio: Fill in ``log_ratio``.

        Raises:
            TypeError: The operator does not denoise; or ``log_ratio`` is wanted of a chain whose
                steps have no density.
        """
        if not isinstance(chain.operator, Reconstructs):
            raise TypeError(f"this walk needs an operator that denoises, not {type(chain.operator).__name__}")
        draw = _Draws(source, path_gradient, with_log_ratio)
        previous, drawn = batch.origin, draw(chain.operator.entry(batch.origin))
        for k in range(1, chain.steps + 1):
            kernel = chain.operator(drawn.state, k, batch.condition)
            assert isinstance(kernel, DenoisingKernel)
            # Learned temperatures get a graph per step, since the consumer may free it before the next one.
            temperature = chain.temperatures()[k - 1]
            reverse = kernel.at(temperature)
            following = draw(kernel.onward(temperature)) if k < chain.steps else drawn
            yield WalkbackTransition(
                k=k,
                steps=chain.steps,
                state=drawn.state,
                previous=previous,
                origin=batch.origin,
                condition=batch.condition,
                reverse=reverse,
                reconstruction=kernel.reconstruction(temperature),
                log_ratio=_share(chain, k, reverse, previous, drawn) if with_log_ratio else None,
            )
            previous, drawn = drawn.state, following


@attrs.frozen(eq=False)
class _Drawn:
    """A state, and log q(s_k | s_{k-1}) where that is wanted: [B], in nats."""

    state: State
    log_forward: Tensor | None


@attrs.frozen
class _Draws:
    """How the states of one walk are drawn: without a graph to the steps before unless the path is to have its gradient."""

    source: Source
    path_gradient: bool
    with_log_ratio: bool

    def __call__(self, law: Distribution) -> _Drawn:
        with torch.set_grad_enabled(self.path_gradient and torch.is_grad_enabled()):
            pathwise = self.path_gradient and isinstance(law, Reparametrised)
            state = law.rsample(self.source) if pathwise else law.sample(self.source)  # type: ignore[attr-defined]
            return _Drawn(state, self._log_forward(law, state) if self.with_log_ratio else None)

    @staticmethod
    def _log_forward(law: Distribution, state: State) -> Tensor:
        if not isinstance(law, Density):
            raise TypeError("log w needs a chain whose steps have a density; this one, with hidden noise or replaced reals, has none")
        return law.log_prob(state)


def _share(chain: Chain, k: int, reverse: Distribution, previous: State, drawn: _Drawn) -> Tensor:
    assert isinstance(reverse, Density)
    assert drawn.log_forward is not None
    share = reverse.log_prob(previous) - drawn.log_forward
    return share + chain.prior(len(share)).log_prob(drawn.state) if k == chain.steps else share


def build(config: WalkbackProcessConfig, context: Context) -> WalkbackProcess:
    """The process ``chain-walk``."""
    return WalkbackProcess()
