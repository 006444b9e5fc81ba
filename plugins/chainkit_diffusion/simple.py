r"""The simplified objective of noise prediction (Ho et al. 2020, eq. 14).

.. math:: L = E_{k, x, e} \| e - e(\sqrt{a_k}\, x + \sqrt{1 - a_k}\, e,\; k) \|^2

It is the bound with every step's weight left out, so that the many steps of little noise count less.
"""

from __future__ import annotations

from collections.abc import Iterator

from chainkit import Batch, Chain, Context, ForwardProcess, Loss, Objective
from chainkit.capabilities import Marginals
from chainkit.distributions import Gaussian
from chainkit.random import Source
from chainkit_diffusion.capabilities import PredictsNoise
from chainkit_diffusion.configs import DiffusionSimpleConfig
from chainkit_diffusion.random_step import random_step


class DiffusionSimple(Objective):
    """Mean squared error of the predicted noise at one random step, over all elements; not in nats.

    The loss is no bound: it says nothing about the schedule, nor about the variance of the operator.

    Arguments:
        shared: Whether all examples of a batch share the step.
    """

    def __init__(self, *, shared: bool = False) -> None:
        super().__init__()
        self.shared = shared

    def losses(self, chain: Chain, process: ForwardProcess, batch: Batch, *, source: Source = None) -> Iterator[Loss]:
        """The loss of one batch.

        Raises:
            TypeError: The process is no Gaussian diffusion, or the operator predicts no noise.
        """
        transition = random_step(chain, process, batch, source, shared=self.shared)
        marginal = process.marginal(transition.origin, transition.k) if isinstance(process, Marginals) else None
        if not isinstance(marginal, Gaussian):
            raise TypeError(f"noise is defined for a process with Gaussian marginals, not for {type(process).__name__}")
        if not isinstance(transition.reverse, PredictsNoise):
            raise TypeError(f"{type(chain.operator).__name__} predicts no noise")
        noise = (transition.state - marginal.mean) / marginal.variance.sqrt()
        yield Loss(value=(transition.reverse.noise - noise).square().mean())


def build(config: DiffusionSimpleConfig, context: Context) -> DiffusionSimple:
    """The objective that a recipe describes.

    Raises:
        ValueError: The process learns its schedule.
    """
    if any(parameter.requires_grad for parameter in context.process.parameters()):
        raise ValueError("diffusion-simple is no bound, so that a schedule cannot be learned by it; take diffusion-bound")
    return DiffusionSimple(shared=config.shared)
