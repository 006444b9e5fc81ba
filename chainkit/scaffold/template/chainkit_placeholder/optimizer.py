r"""An optimiser whose steps all have one size.

.. math:: \theta \leftarrow \theta - \eta\, \mathrm{sign}(\beta_1 m + (1 - \beta_1) g), \qquad
    m \leftarrow \beta_2 m + (1 - \beta_2) g

(Chen et al. 2023, *Symbolic Discovery of Optimization Algorithms*, algorithm 2, without weight decay).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from chainkit import Context
from chainkit_placeholder.configs import OptimizerConfig


class SignMomentum(torch.optim.Optimizer):
    """The optimiser. What it keeps in ``state`` is saved in checkpoints and restored.

    Arguments:
        parameters: What to train.
        lr: eta, above 0.
        blend: beta_1 in [0, 1].
        memory: beta_2 in [0, 1].
    """

    def __init__(self, parameters: list[nn.Parameter], *, lr: float, blend: float, memory: float) -> None:
        super().__init__(parameters, {"lr": lr, "blend": blend, "memory": memory})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    momentum = self.state[parameter].setdefault("momentum", torch.zeros_like(parameter))
                    parameter.sub_(momentum.lerp(parameter.grad, 1 - group["blend"]).sign_(), alpha=group["lr"])
                    momentum.lerp_(parameter.grad, 1 - group["memory"])
        return loss


def build(config: OptimizerConfig, context: Context) -> Callable[[list[nn.Parameter]], SignMomentum]:
    """A function from parameters to the optimiser that a recipe describes."""
    return lambda parameters: SignMomentum(parameters, lr=config.lr, blend=config.blend, memory=config.memory)
