"""Ways to look at a run, from a notebook: ``run.show.chain()``.

Plugins provide them (hook ``chainkit_views``); each is a function that takes the run first.
"""

from __future__ import annotations

import importlib
import inspect
from types import MethodType
from typing import TYPE_CHECKING, Any

from chainkit.registry import suggest

if TYPE_CHECKING:
    from chainkit.run import Run


class Views:
    """What the plugins can show of a run, as methods.

    Arguments:
        run: The run.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._references = {name: reference for name, (_, reference) in run.host.views.items()}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._references:
            raise AttributeError(f"nothing shows {name!r} of a run{suggest(name, sorted(self._references))}")
        module, _, attribute = self._references[name].partition(":")
        return MethodType(getattr(importlib.import_module(module), attribute), self._run)

    def __dir__(self) -> list[str]:
        return sorted(self._references)

    def __repr__(self) -> str:
        return "\n".join([f"run.show, of {self._run.path}:", *map(self._told, sorted(self._references))])

    def _told(self, name: str) -> str:
        method = getattr(self, name)
        arguments = ", ".join(inspect.signature(method).parameters)
        return f"  {f'{name}({arguments})':<56} {(inspect.getdoc(method) or '').partition(chr(10))[0]}".rstrip()
