r"""The variational bound of a fixed diffusion, with its divergences in closed form.

.. math::
    -E_q[\log w] = KL(q(s_K | x) \| p^*) + \sum_{k=2}^K E_q\, KL(q(s_{k-1} | s_k, x) \| p(s_{k-1} | s_k)) - E_q \log p(x | s_1)

(Sohl-Dickstein et al. 2015, eqs. 10-14; written so, Ho et al. 2020, eq. 5). Each divergence takes
the place of the difference of two log densities at one draw, and so lowers the variance of the
gradient; each needs s_k alone, so that the sum over k can be replaced by K times one random step.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import attrs
import torch
from torch import Tensor

from chainkit import Batch, Chain, Context, Density, ForwardProcess, Loss, Objective, Transition
from chainkit.capabilities import Posteriors, RandomAccess
from chainkit.distributions import kl_divergence
from chainkit.random import Source
from chainkit_diffusion.configs import DiffusionBoundConfig
from chainkit_diffusion.random_step import random_step


class DiffusionBound(Objective):
    """The negative bound, in nats: the losses of a batch sum to it, in expectation.

    Every loss is local to its step, so that memory does not grow with K. A learned schedule is
    reached through the draws too: its steps are then drawn one by one, each at once from x.

    Arguments:
        steps: ``all`` steps of a walk, or ``one`` random step per batch, with weight K.
        shared: With ``one``, whether all examples share it (as in the released code); otherwise
            each example has its own.

    Raises:
        ValueError: ``shared`` without ``one``.
    """

    def __init__(self, *, steps: Literal["all", "one"] = "one", shared: bool = False) -> None:
        super().__init__()
        if shared and steps == "all":
            raise ValueError("a step can be shared only where steps = 'one'")
        self.steps = steps
        self.shared = shared

    def losses(self, chain: Chain, process: ForwardProcess, batch: Batch, *, source: Source = None) -> Iterator[Loss]:
        """Streams the losses of one batch.

        Raises:
            TypeError: The process has no known posteriors, or ``one`` cannot visit a step of it alone.
        """
        if not isinstance(process, Posteriors):
            raise TypeError(f"the bound of a diffusion needs a process with known posteriors, not {type(process).__name__}")
        rest: Tensor | float = kl_divergence(process.marginal(batch.origin, chain.steps), chain.prior(len(batch))).mean()
        for transition in self.transitions(chain, process, batch, source):
            yield Loss(value=transition.weight * divergence(process, transition).mean() + rest)
            rest = 0.0
            del transition

    def transitions(self, chain: Chain, process: ForwardProcess, batch: Batch, source: Source) -> Iterator[Transition]:
        """The steps to train on."""
        learned = any(parameter.requires_grad for parameter in process.parameters())
        if self.steps == "one":
            yield random_step(chain, process, batch, source, shared=self.shared)
        elif learned and isinstance(process, RandomAccess):
            for k in range(chain.steps, 0, -1):
                yield attrs.evolve(process.visit(chain, batch, k, source=source), weight=1.0)
        else:
            yield from process.walk(chain, batch, source=source)


def divergence(process: Posteriors, transition: Transition) -> Tensor:
    """The share of a step in the negative bound: [B], in nats.

    ``KL(q(s_{k-1} | s_k, x) || p(s_{k-1} | s_k))``, for rows at k = 1 ``-log p(x | s_1)``.

    Arguments:
        process: The process that the step is from.
        transition: The step; its k may be a tensor.

    Raises:
        TypeError: The kernel has no density.
    """
    k, reverse = transition.k, transition.reverse
    if not isinstance(reverse, Density):
        raise TypeError(f"the bound of a diffusion needs kernels with a density, got {type(reverse).__name__}")
    if transition.steps == 1 or (isinstance(k, int) and k == 1):
        return -reverse.log_prob(transition.origin)
    if isinstance(k, int):
        return kl_divergence(process.posterior(transition.state, transition.origin, k), reverse)
    above = kl_divergence(process.posterior(transition.state, transition.origin, k.clamp(min=2)), reverse)
    return torch.where(k == 1, -reverse.log_prob(transition.origin), above)


def build(config: DiffusionBoundConfig, context: Context) -> DiffusionBound:
    """The objective that a recipe describes."""
    if config.steps == "one" and not isinstance(context.process, RandomAccess):
        raise ValueError("steps = 'one' needs a process whose steps can be visited alone; take steps = 'all'")
    return DiffusionBound(steps=config.steps, shared=config.shared)
