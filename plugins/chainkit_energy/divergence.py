r"""Maximum likelihood for energies, the model's side of the gradient taken from a Markov chain.

.. math:: -\nabla E_x[\log p(x)] = E_x[\nabla E(x)] - E_{s \sim p}[\nabla E(s)]

The states s come from k transitions of the chain's own operator at T = 1: from the data itself in
contrastive divergence, CD-k (Hinton 2002), from where the last update left them in persistent
contrastive divergence (Tieleman 2008; Younes 1999). With exact draws from p the gradient is unbiased;
CD-k tends to it as k grows. The value of the loss is a difference of energies and no likelihood.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from chainkit.batch import Batch
from chainkit.chain import Chain
from chainkit.objective import Loss, Objective
from chainkit.prior import Prior
from chainkit.process import ForwardProcess
from chainkit.random import Source, common, uniform
from chainkit.states import per_row
from chainkit_energy.capabilities import FromEnergy

if TYPE_CHECKING:
    from chainkit.component import Context
    from chainkit_energy.configs import ContrastiveConfig, PersistentConfig


@torch.no_grad()
def moved(chain: Chain, state: Tensor, steps: int, condition: Any, source: Source) -> Tensor:
    """The states after some transitions at T = 1, [B, *event].

    Arguments:
        chain: The chain whose operator moves them.
        state: Where they are, [B, *event].
        steps: Number of transitions.
        condition: Class labels, a LongTensor [B], or None.
        source: Where the random numbers come from.
    """
    for _ in range(steps):
        state = chain.operator(state, 1, condition).at(1.0).sample(source)
    return state


def contrast(chain: Chain, batch: Batch, negative: Tensor, condition: Any = None) -> Loss:
    """Mean energy of the data less mean energy of states held fixed, in nats.

    Arguments:
        chain: A chain whose operator comes from an energy.
        batch: The data.
        negative: The states, [n, *event], drawn from the model or nearly so.
        condition: What they are conditioned on.

    Raises:
        TypeError: The operator comes from no energy.
    """
    operator = chain.operator
    if not isinstance(operator, FromEnergy):
        raise TypeError(f"contrastive divergence needs an operator that comes from an energy, not {type(operator).__name__}")
    data = -operator.log_target(batch.origin, condition=batch.condition).mean()
    model = -operator.log_target(negative, condition=condition).mean()
    return Loss(value=data - model, metrics={"energy of data": data.detach(), "energy of samples": model.detach()})


class ContrastiveDivergence(Objective):
    """CD-k. The process is not used.

    Arguments:
        steps: k, the number of transitions away from the data, 1 or more.

    Raises:
        ValueError: Fewer than one.
    """

    def __init__(self, steps: int = 1) -> None:
        super().__init__()
        if steps < 1:
            raise ValueError(f"contrastive divergence takes a step or more, not {steps}")
        self.steps = steps

    def losses(self, chain: Chain, process: ForwardProcess, batch: Batch, *, source: Source = None) -> Iterator[Loss]:
        negative = moved(chain, batch.origin, self.steps, batch.condition, source)
        yield contrast(chain, batch, negative, batch.condition)


class PersistentDivergence(Objective):
    """PCD: the chains go on from update to update, and are saved and restored with the run. The process is not used.

    Where several processes share out a batch, each moves all chains, by the same draws.

    Arguments:
        start: Where the chains start, [n, *event].
        steps: k, the number of transitions for one update, 1 or more.
        restart: Probability that a chain starts anew from the prior before an update, in [0, 1].

    Raises:
        ValueError: An argument outside its range.
    """

    chains: Tensor

    def __init__(self, start: Tensor, steps: int = 1, restart: float = 0.0) -> None:
        super().__init__()
        if not len(start) or steps < 1 or not 0 <= restart <= 1:
            raise ValueError(f"chains, steps and restart are above 0, above 0 and in [0, 1], got {len(start)}, {steps} and {restart}")
        self.register_buffer("chains", start.clone())
        self.steps = steps
        self.restart = restart

    def losses(self, chain: Chain, process: ForwardProcess, batch: Batch, *, source: Source = None) -> Iterator[Loss]:
        draws = common(source)
        state = self._restarted(chain.prior, draws) if self.restart else self.chains.clone()
        negative = moved(chain, state, self.steps, None, draws)
        self.chains.copy_(negative)
        yield contrast(chain, batch, negative)

    def _restarted(self, prior: Prior, source: Source) -> Tensor:
        anew = uniform(self.chains.flatten(1)[:, 0], source) < self.restart
        return torch.where(per_row(anew, self.chains), prior(len(self.chains)).sample(source), self.chains)


def build(config: ContrastiveConfig, context: Context) -> ContrastiveDivergence:
    """The objective ``contrastive-divergence``."""
    return ContrastiveDivergence(config.steps)


def build_persistent(config: PersistentConfig, context: Context) -> PersistentDivergence:
    """The objective ``persistent-divergence``, its chains drawn from the prior.

    Raises:
        ValueError: The data is labelled: the chains would need labels of their own.
    """
    if context.data.classes is not None:
        raise ValueError("persistent chains carry no labels; leave the labels of the data out")
    return PersistentDivergence(context.prior(config.chains).sample(), config.steps, config.restart)
