r"""The criterion of denoising autoencoders and GSNs: reconstruct x from every state of a walk.

.. math:: L = -\sum_{k=1}^{n} \log p(x | s_k)

(chapters 20.11.3 and 20.12 of Goodfellow, Bengio and Courville; Bengio et al. 2013 and 2014). n = 1 is the
denoising criterion; more steps remove spurious modes further from the data, at the same optimum. L
is no bound on log p(x): what it trains is the transition, and the model is where the chain settles.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from torch import Tensor

from chainkit.batch import Batch
from chainkit.chain import Chain
from chainkit.objective import LocalObjective, Loss
from chainkit.process import ForwardProcess
from chainkit.random import Source
from chainkit.transition import Transition
from chainkit_gsn.walk import WalkbackTransition

if TYPE_CHECKING:
    from chainkit.component import Context
    from chainkit_gsn.configs import ReconstructionConfig


class Reconstruction(LocalObjective):
    """-log p(x | s_k) at the first steps of a walk by the chain itself.

    Arguments:
        steps: n, how many states of the walk are reconstructed from; None is K.
        whole: Whether the gradient passes from one step to those before it through the hidden
            layers (reparametrised): one loss per walk, memory grows with n. Otherwise every step
            is on its own.
    """

    def __init__(self, steps: int | None = None, *, whole: bool = False) -> None:
        super().__init__()
        self.steps = steps
        self.whole = whole

    def loss(self, transition: Transition) -> Tensor:
        """-log p(x | s_k): [B], in nats.

        Arguments:
            transition: The step.

        Raises:
            TypeError: The walk does not tell p(x | s_k).
        """
        if not isinstance(transition, WalkbackTransition):
            raise TypeError("reconstruction needs a process that tells p(x | s_k), such as chain-walk")
        return -transition.reconstruction.log_prob(transition.origin)

    def transitions(self, chain: Chain, process: ForwardProcess, batch: Batch, source: Source) -> Iterator[Transition]:
        return islice(process.walk(chain, batch, source=source, path_gradient=self.whole), self.steps)

    def losses(self, chain: Chain, process: ForwardProcess, batch: Batch, *, source: Source = None) -> Iterator[Loss]:
        steps = super().losses(chain, process, batch, source=source)
        if not self.whole:
            yield from steps
            return
        values = [loss.value for loss in steps]
        yield Loss(value=sum(values[1:], start=values[0]))


def build(config: ReconstructionConfig, context: Context) -> Reconstruction:
    """The objective ``reconstruction``.

    Raises:
        ValueError: More steps than the chain has.
    """
    if config.steps is not None and config.steps > context.steps:
        raise ValueError(f"steps: {config.steps} are more than the chain's {context.steps}")
    return Reconstruction(config.steps, whole=config.gradient == "walk")
