"""What recipes may set on the components of this plugin."""

from __future__ import annotations

from typing import Any

import attrs
from attrs import field

from chainkit.config import above, at_least


def _two_betas(instance: Any, attribute: Any, value: list[float]) -> None:
    if len(value) != 2 or not all(0 <= beta < 1 for beta in value):
        raise ValueError(f"must be two numbers in [0, 1), not {value!r}")


def _below_one(instance: Any, attribute: Any, value: float) -> None:
    if not 0 <= value < 1:
        raise ValueError(f"must be in [0, 1), not {value!r}")


@attrs.frozen(kw_only=True)
class AdamConfig:
    """Adam (Kingma and Ba 2015).

    Arguments:
        lr: Learning rate, above 0.
        betas: Decay rates of the averages of the gradient and of its square, two numbers in [0, 1).
        eps: Added to the root of the average square, above 0.
        weight_decay: Weight of an L2 penalty on every parameter, added to the gradient, 0 or more.
        amsgrad: Divide by the largest average square so far.
        fused: One kernel for all parameters; left out, wherever torch has one.
    """

    lr: float = field(default=1e-3, validator=above(0))
    betas: list[float] = field(factory=lambda: [0.9, 0.999], validator=_two_betas)
    eps: float = field(default=1e-8, validator=above(0))
    weight_decay: float = field(default=0.0, validator=at_least(0))
    amsgrad: bool = False
    fused: bool | None = None


@attrs.frozen(kw_only=True)
class AdamWConfig:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019).

    Arguments:
        lr: Learning rate, above 0.
        betas: Decay rates of the averages of the gradient and of its square, two numbers in [0, 1).
        eps: Added to the root of the average square, above 0.
        weight_decay: Share of every parameter, times the learning rate, taken away per update, 0 or more.
        amsgrad: Divide by the largest average square so far.
        fused: One kernel for all parameters; left out, wherever torch has one.
    """

    lr: float = field(default=1e-3, validator=above(0))
    betas: list[float] = field(factory=lambda: [0.9, 0.999], validator=_two_betas)
    eps: float = field(default=1e-8, validator=above(0))
    weight_decay: float = field(default=0.01, validator=at_least(0))
    amsgrad: bool = False
    fused: bool | None = None


@attrs.frozen(kw_only=True)
class SGDConfig:
    """Stochastic gradient descent.

    Arguments:
        lr: Learning rate, above 0.
        momentum: Share of the last update that is kept, in [0, 1).
        nesterov: Whether to look ahead along the momentum, which must then be above 0.
        weight_decay: Weight of an L2 penalty on every parameter, added to the gradient, 0 or more.
        fused: One kernel for all parameters; left out, wherever torch has one.
    """

    lr: float = field(validator=above(0))
    momentum: float = field(default=0.0, validator=_below_one)
    nesterov: bool = field(default=False)
    weight_decay: float = field(default=0.0, validator=at_least(0))
    fused: bool | None = None

    @nesterov.validator
    def _needs_momentum(self, attribute: Any, value: bool) -> None:
        if value and self.momentum == 0:
            raise ValueError("needs a momentum above 0")


@attrs.frozen(kw_only=True)
class RMSpropConfig:
    """RMSProp (Tieleman and Hinton 2012), the optimiser of Sohl-Dickstein et al. 2015.

    Arguments:
        lr: Learning rate, above 0.
        alpha: Decay rate of the average square of the gradient, in [0, 1).
        eps: Added to its root, above 0.
        momentum: Share of the last update that is kept, in [0, 1).
        centered: Divide by the standard deviation of the gradient instead.
        weight_decay: Weight of an L2 penalty on every parameter, added to the gradient, 0 or more.
    """

    lr: float = field(default=1e-3, validator=above(0))
    alpha: float = field(default=0.99, validator=_below_one)
    eps: float = field(default=1e-8, validator=above(0))
    momentum: float = field(default=0.0, validator=_below_one)
    centered: bool = False
    weight_decay: float = field(default=0.0, validator=at_least(0))
