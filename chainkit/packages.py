"""Packages that are imported where they are used."""

from __future__ import annotations

import importlib
from types import ModuleType

from chainkit.errors import MissingPackage


def imported(module: str, remedy: str) -> ModuleType:
    """A module, or one line that says which package cannot be imported, why, and what to do.

    Arguments:
        module: Dotted name.
        remedy: What to do.

    Raises:
        MissingPackage: It is absent, or broken: a torchvision built for another torch fails with
            RuntimeError, a missing shared library with OSError.
    """
    try:
        return importlib.import_module(module)
    except (ImportError, RuntimeError, OSError, AttributeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise MissingPackage(f"{module.partition('.')[0]} cannot be imported ({reason}): {remedy}") from error
