r"""Hamiltonian Monte Carlo: a frictionless trajectory in the landscape of -log pi_T, then accept or reject.

.. math:: H(s, m) = -\log \pi_T(s) + |m|^2 / 2, \qquad m \sim N(0, I), \qquad
    P(\mathrm{accept}) = \min(1, e^{H(s, m) - H(s', m')})

(Duane et al. 1987; Neal 2011). The trajectory takes L leapfrog steps of length e. L = 1 is Langevin
sampling with Metropolis correction (Rossky et al. 1978; Roberts and Tweedie 1996): the proposal is
:math:`N(s + \tfrac{e^2}{2} \nabla \log \pi_T(s), e^2)`, and the acceptance the same.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from chainkit.kernel import divisor
from chainkit.prior import Prior
from chainkit.random import Source, normal, uniform
from chainkit.states import per_row
from chainkit_energy.energy import Energy
from chainkit_energy.operator import ReversibleOperator

if TYPE_CHECKING:
    from chainkit.component import Context
    from chainkit_energy.configs import AdjustedLangevinConfig, HamiltonianConfig


class Hamiltonian(ReversibleOperator):
    """Without a reference the landscape flattens with T, and e grows with its square root.

    Arguments:
        energy: E.
        step: e, the length of a leapfrog step at T = 1, in model units, above 0.
        leapfrog: L, the number of them in a trajectory, 1 or more.
        reference: r, with a density; None is flat.

    Raises:
        ValueError: An argument outside its range.
    """

    def __init__(self, energy: Energy, step: float, leapfrog: int = 1, reference: Prior | None = None) -> None:
        super().__init__(energy, reference)
        if step <= 0 or leapfrog < 1:
            raise ValueError(f"a trajectory has steps above 0, one or more, not {leapfrog} of {step}")
        self.step = step
        self.leapfrog = leapfrog

    def move(self, state: Tensor, temperature: float | Tensor, condition: Any, source: Source) -> Tensor:
        length = self._length(temperature, state)
        start = normal(state, source)
        proposal, momentum = state, start
        before, slope = self._landscape(state, temperature, condition)
        level = before
        for _ in range(self.leapfrog):
            momentum = momentum + 0.5 * length * slope
            proposal = proposal + length * momentum
            level, slope = self._landscape(proposal, temperature, condition)
            momentum = momentum + 0.5 * length * slope
        gain = level - before + 0.5 * (start.square() - momentum.square()).flatten(1).sum(1)
        # A trajectory that diverged has no number for a gain, which no comparison accepts.
        accepted = uniform(gain, source).log() < gain
        return torch.where(per_row(accepted, state), proposal, state)

    def _length(self, temperature: float | Tensor, like: Tensor) -> float | Tensor:
        if self.reference is not None:
            return self.step
        scale = divisor(temperature, like)
        return self.step * (scale.sqrt() if isinstance(scale, Tensor) else math.sqrt(scale))

    def _landscape(self, state: Tensor, temperature: float | Tensor, condition: Any) -> tuple[Tensor, Tensor]:
        """log pi_T, [B], and its gradient, [B, *event]."""
        with torch.enable_grad():
            at = state.detach().requires_grad_()
            level = self.log_target(at, temperature, condition)
            (slope,) = torch.autograd.grad(level.sum(), at)
        return level.detach(), slope


def build(config: HamiltonianConfig, context: Context) -> Hamiltonian:
    """The operator ``hamiltonian``."""
    reference = context.prior if config.reference == "prior" else None
    return Hamiltonian(context.build(config.energy), config.step, config.leapfrog, reference)


def build_adjusted(config: AdjustedLangevinConfig, context: Context) -> Hamiltonian:
    """The operator ``langevin-adjusted``: trajectories of one step."""
    reference = context.prior if config.reference == "prior" else None
    return Hamiltonian(context.build(config.energy), config.noise, 1, reference)
