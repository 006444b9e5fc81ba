"""chainkit: generative chains in PyTorch, models that turn noise into data by a few learned stochastic steps."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"
API_VERSION = 1
"""The version of the interfaces that plugins are written for; a plugin's ``chainkit_api`` is a range that holds it."""

_HOME = {
    "Batch": "batch",
    "Chain": "chain",
    "Component": "component",
    "Context": "component",
    "Data": "data",
    "Density": "capabilities",
    "Distribution": "capabilities",
    "Estimate": "estimator",
    "Estimator": "estimator",
    "Factorial": "capabilities",
    "ForwardProcess": "process",
    "Kernel": "kernel",
    "LocalObjective": "objective",
    "Loss": "objective",
    "Network": "network",
    "Objective": "objective",
    "Part": "component",
    "Prior": "prior",
    "Reparametrised": "capabilities",
    "Reversible": "capabilities",
    "Samples": "chain",
    "Schedule": "schedule",
    "Transition": "transition",
    "TransitionOperator": "operator",
    "hold": "chain",
    "hookimpl": "hookspecs",
    "log_weights": "log_weight",
    "open_run": "opening",
}

__all__ = ["API_VERSION", "__version__", *_HOME]


def __getattr__(name: str) -> Any:
    """Imports on first use, so that ``import chainkit`` does not import torch."""
    if name not in _HOME:
        raise AttributeError(f"module 'chainkit' has no attribute {name!r}")
    return getattr(importlib.import_module(f"chainkit.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
