r"""A forward process that comes straight back from noise to the data point.

.. math:: q(s_K | x) = p^*(s_K), \qquad q(s_{k-1} | s_k, x) = N\left(s_k + \frac{x - s_k}{k},\; \sigma^2\right),
    \qquad s_0 = x

Every step goes its share of the way that is left. A walk starts from noise, so its share of log w is
log p(s_{k-1} | s_k) - log q(s_{k-1} | s_k, x), and at k = 1 just log p(x | s_1); the prior cancels.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from chainkit import Batch, Chain, Context, Density, Distribution, ForwardProcess, Transition
from chainkit.distributions import Gaussian
from chainkit.random import Source
from chainkit_placeholder.configs import ProcessConfig


class Bridge(ForwardProcess):
    """q(s_1..s_K | x), from s_K to s_1. It has nothing to learn, and so no path gradient to keep.

    Arguments:
        noise: sigma > 0, in model units.
    """

    def __init__(self, noise: float) -> None:
        super().__init__()
        self.noise = noise

    def back(self, state: Tensor, origin: Tensor, k: int) -> Gaussian:
        """q(s_{k-1} | s_k, x).

        Arguments:
            state: s_k, [B, *event].
            origin: x, [B, *event].
            k: In 2..K.
        """
        return Gaussian(state + (origin - state) / k, state.new_full((), self.noise**2))

    def walk(
        self,
        chain: Chain,
        batch: Batch,
        *,
        source: Source = None,
        path_gradient: bool = False,
        with_log_ratio: bool = False,
    ) -> Iterator[Transition]:
        """One walk for each example, k = K..1."""
        state, temperatures = chain.prior(batch.rows).sample(source), chain.temperatures()
        for k in range(chain.steps, 0, -1):
            reverse = chain.operator(state, k, batch.condition).at(temperatures[k - 1])
            back = self.back(state, batch.origin, k) if k > 1 else None
            previous = batch.origin if back is None else back.sample(source)
            yield Transition(
                k=k,
                steps=chain.steps,
                state=state,
                previous=previous,
                origin=batch.origin,
                condition=batch.condition,
                reverse=reverse,
                log_ratio=_share(reverse, back, previous) if with_log_ratio else None,
            )
            del reverse  # the graph of one step is let go before the next is built
            state = previous


def _share(reverse: Distribution, back: Density | None, previous: Tensor) -> Tensor:
    """What one step adds to log w: [B], in nats."""
    if not isinstance(reverse, Density):
        raise TypeError(f"log w needs an operator with a density, and {type(reverse).__name__} has none")
    return reverse.log_prob(previous) - (0 if back is None else back.log_prob(previous))


def build(config: ProcessConfig, context: Context) -> Bridge:
    """The process that a recipe describes."""
    return Bridge(config.noise)
