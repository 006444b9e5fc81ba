"""chainkit: generative chains in PyTorch, models that turn noise into data by a few learned stochastic steps."""

from __future__ import annotations

from chainkit.lazy import lazy_names

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

__getattr__ = lazy_names(__name__, _HOME)[0]


def __dir__() -> list[str]:
    return sorted(__all__)
