r"""Every walk of a process, so that an expectation over walks is a sum.

.. math:: E_q[f] = \sum_{s_1..s_K} q(s_1..s_K | x)\, f(s_1..s_K)

The process walks once, with a row for each walk there is, while its draws are given to it. What each
draw would have been drawn from says the probability of the walk: no definition of the process is
repeated here, so that the sum tells whether log w, as the process states it, belongs to the q that the
process draws from: E_q[w] is p(x), whatever q.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import attrs
import torch
from torch import Tensor

from chainkit.batch import Batch
from chainkit.capabilities import Density, Distribution
from chainkit.chain import Chain
from chainkit.modes import evaluating
from chainkit.process import ForwardProcess
from chainkit.random import Source
from chainkit.testing.oracles.enumerated import Enumerated
from chainkit.transition import total_log_ratio


@attrs.frozen(kw_only=True, eq=False)
class Walks:
    """All walks of a process from one x.

    Arguments:
        states: s_0..s_K, each [walks, *event].
        log_q: log q(s_1..s_K | x) as the process drew them, [walks], in nats.
        log_w: log w as the process states it, [walks], in nats.
        log_measure: What each walk counts for in a sum, [walks].
    """

    states: list[Tensor]
    log_q: Tensor
    log_w: Tensor
    log_measure: Tensor

    def expectation(self, values: Tensor) -> Tensor:
        """E_q of one value per walk, [walks]."""
        return ((self.log_q + self.log_measure).exp() * values).sum()

    @property
    def mass(self) -> float:
        """What q sums to: 1."""
        return float(self.expectation(torch.ones_like(self.log_q)))

    @property
    def bound(self) -> float:
        """E_q[log w], in nats."""
        return float(self.expectation(self.log_w))

    @property
    def log_likelihood(self) -> float:
        """log E_q[w], in nats: log p(x)."""
        return float(torch.logsumexp(self.log_q + self.log_measure + self.log_w, 0))


def every_walk(chain: Chain, process: ForwardProcess, x: Tensor, support: Enumerated) -> Walks:
    """Walks every walk, in evaluation mode.

    Arguments:
        chain: The chain, float64.
        process: A process that draws each of s_1..s_K once, from distributions with a density.
        x: One data point, [1, *event].
        support: The states that a draw can have; there are ``len(states) ** K`` walks.

    Raises:
        AssertionError: The process draws another number of states.
        TypeError: It draws from a distribution without a density.
    """
    count = len(support.states)
    choices = torch.cartesian_prod(*[torch.arange(count)] * chain.steps).view(-1, chain.steps)
    batch = Batch.of(x.expand(len(choices), *x.shape[1:]))
    with evaluating(chain, process), torch.no_grad(), scripted([support.states[column] for column in choices.T]) as script:
        walk = list(process.walk(chain, batch, with_log_ratio=True))
    states = {int(transition.k): transition.state for transition in walk}
    return Walks(
        states=[batch.origin, *(states[k] for k in range(1, chain.steps + 1))],
        log_q=script.log_q,
        log_w=total_log_ratio(walk),
        log_measure=support.log_measure[choices].sum(1),
    )


class Script:
    """States that are drawn one after the other, whatever from.

    Arguments:
        states: What is to be drawn, in order, each [rows, *event].

    Attributes:
        log_q: log probability of all that was drawn, [rows], in nats.
    """

    def __init__(self, states: Sequence[Tensor]) -> None:
        self.ahead = list(states)
        self.log_q = states[0].new_zeros(len(states[0]))
        self._inside = False

    def draw(self, distribution: Distribution, otherwise: Any, source: Source) -> Any:
        """The next state; or what the distribution draws, where it is drawn as part of another one."""
        if self._inside:
            return otherwise(distribution, source)
        if not isinstance(distribution, Density):
            raise TypeError(f"only draws from distributions with a density can be scripted, not from {type(distribution).__name__}")
        assert self.ahead, "more states are drawn than the script has"
        state = self.ahead.pop(0)
        self.log_q = self.log_q + distribution.log_prob(state).detach()
        return state


@contextmanager
def scripted(states: Sequence[Tensor]) -> Iterator[Script]:
    """While it is open, ``sample`` of every distribution gives these states, one after the other.

    Arguments:
        states: What is drawn, in order, each [rows, *event].

    Raises:
        AssertionError: Another number of states is drawn.
    """
    script = Script(states)
    with ExitStack() as stack:
        for kind in _kinds(Distribution):
            if "sample" in vars(kind):
                stack.enter_context(mock.patch.object(kind, "sample", _given(script, vars(kind)["sample"])))
        yield script
    assert not script.ahead, f"{len(script.ahead)} states of the script are not drawn"


def _given(script: Script, otherwise: Any) -> Any:
    def sample(self: Distribution, source: Source = None) -> Any:
        return script.draw(self, otherwise, source)

    return sample


def _kinds(kind: type) -> set[type]:
    return {kind}.union(*map(_kinds, kind.__subclasses__()))
