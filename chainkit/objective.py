"""Objectives: how walks become losses.

An objective yields its losses one at a time, and whoever trains calls ``backward()`` on each as it
comes. A function of one transition is a :class:`LocalObjective`; one that needs the whole path
consumes the walk and yields a single loss.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping

import attrs
from torch import Tensor, nn

from chainkit.batch import Batch
from chainkit.chain import Chain
from chainkit.process import ForwardProcess
from chainkit.random import Source
from chainkit.transition import Transition, total_log_ratio


@attrs.frozen(kw_only=True, eq=False)
class Loss:
    """Something to minimise.

    Arguments:
        value: A scalar, the mean over the batch; the losses of one walk are summed.
        parameters: Name of the set of parameters that the loss reaches, one of the keys of
            ``Objective.parameter_sets``; None reaches every parameter in no named set.
        update: Whether an optimiser update of that set follows; None leaves it to the recipe
            (once per walk or once per step).
        metrics: Numbers to log, as detached scalars.
    """

    value: Tensor
    parameters: str | None = None
    update: bool | None = None
    metrics: Mapping[str, Tensor] = attrs.field(factory=dict)


class Objective(nn.Module, ABC):
    """Turns walks into losses. It may own parameters (a discriminator) and buffers (persistent chains)."""

    @abstractmethod
    def losses(self, chain: Chain, process: ForwardProcess, batch: Batch, *, source: Source = None) -> Iterator[Loss]:
        """Streams the losses of one batch.

        Arguments:
            chain: The generative chain.
            process: The forward process.
            batch: The examples.
            source: Where the random numbers come from.
        """

    def parameter_sets(self) -> Mapping[str, list[nn.Parameter]]:
        """Named sets of parameters with an optimiser of their own; what is in no set forms the default one."""
        return {}


class LocalObjective(Objective):
    """An objective that is a function of one transition: memory does not grow with the chain."""

    @abstractmethod
    def loss(self, transition: Transition) -> Tensor:
        """The loss of one step for each example: [B], in nats.

        Arguments:
            transition: The step; its k may be a tensor, for a stack of many steps.
        """

    def transitions(self, chain: Chain, process: ForwardProcess, batch: Batch, source: Source) -> Iterator[Transition]:
        """The steps to train on; a complete walk unless an objective chooses others."""
        return process.walk(chain, batch, source=source)

    def losses(self, chain: Chain, process: ForwardProcess, batch: Batch, *, source: Source = None) -> Iterator[Loss]:
        for transition in self.transitions(chain, process, batch, source):
            yield Loss(value=transition.weight * self.loss(transition).mean())
            del transition


class PathBound(Objective):
    r"""The negative variational bound of a whole walk, with its gradient through the path.

    .. math:: L = -E_q[\log p(x, s_1..s_K) - \log q(s_1..s_K | x)]

    (walkback paper, eq. 8; infusion paper, eq. 3.3.3). The walk must be reparametrised. One loss
    per batch; memory grows with K.
    """

    def losses(self, chain: Chain, process: ForwardProcess, batch: Batch, *, source: Source = None) -> Iterator[Loss]:
        walk = process.walk(chain, batch, source=source, path_gradient=True, with_log_ratio=True)
        yield Loss(value=-total_log_ratio(walk).mean())
