"""Optimisers of ``torch.optim``, fused into one kernel where torch has one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import nn

if TYPE_CHECKING:
    from chainkit.component import Context
    from chainkit_optim.configs import AdamConfig, AdamWConfig, RMSpropConfig, SGDConfig

Factory: TypeAlias = Callable[[list[nn.Parameter]], torch.optim.Optimizer]


def can_be_fused(parameters: list[nn.Parameter]) -> bool:
    """Whether torch has a fused optimiser for these parameters: real numbers, on the CPU or on CUDA."""
    return all(parameter.device.type in ("cpu", "cuda") and parameter.is_floating_point() for parameter in parameters)


def factory(optimizer: Callable[..., torch.optim.Optimizer], fused: bool | None, settings: dict[str, Any]) -> Factory:
    """A function from parameters to an optimiser.

    Arguments:
        optimizer: Class of the optimiser, one that takes ``fused``.
        fused: Whether to fuse; None is wherever possible.
        settings: The other arguments of the class.
    """

    def make(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        return optimizer(parameters, fused=can_be_fused(parameters) if fused is None else fused, **settings)

    return make


def build_adam(config: AdamConfig, context: Context) -> Factory:
    """The optimiser ``adam``."""
    settings = {"lr": config.lr, "betas": tuple(config.betas), "eps": config.eps, "weight_decay": config.weight_decay}
    return factory(torch.optim.Adam, config.fused, {**settings, "amsgrad": config.amsgrad})


def build_adamw(config: AdamWConfig, context: Context) -> Factory:
    """The optimiser ``adamw``."""
    settings = {"lr": config.lr, "betas": tuple(config.betas), "eps": config.eps, "weight_decay": config.weight_decay}
    return factory(torch.optim.AdamW, config.fused, {**settings, "amsgrad": config.amsgrad})


def build_sgd(config: SGDConfig, context: Context) -> Factory:
    """The optimiser ``sgd``."""
    settings = {"lr": config.lr, "momentum": config.momentum, "nesterov": config.nesterov, "weight_decay": config.weight_decay}
    return factory(torch.optim.SGD, config.fused, settings)


def build_rmsprop(config: RMSpropConfig, context: Context) -> Factory:
    """The optimiser ``rmsprop``, which torch does not fuse."""

    def make(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.RMSprop(
            parameters,
            lr=config.lr,
            alpha=config.alpha,
            eps=config.eps,
            momentum=config.momentum,
            centered=config.centered,
            weight_decay=config.weight_decay,
        )

    return make
