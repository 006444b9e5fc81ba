"""Writes a page of the reference for each package of the code, from its docstrings, each time the site is built."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

PLUGINS = Path(__file__).parents[2] / "plugins"
SKIPPED = ("chainkit.cli", "chainkit.scaffold")
"""Packages that are programs, with pages of their own."""

_KEPT = r"``.+?``|`.+?`|^(?P<indent> *)\.\. math::[^\n]*(?:\n(?:(?P=indent) +[^\n]*)?)*"
_SIGN = re.compile(rf"({_KEPT})|(?<!\w)([*|])(?=\w)", re.MULTILINE | re.DOTALL)


def packages() -> list[str]:
    """Names of all packages that are shipped, with the packages inside."""
    found = []
    for top in ["chainkit", *sorted(path.parent.name for path in PLUGINS.glob("*/__init__.py"))]:
        inside = pkgutil.walk_packages(importlib.import_module(top).__path__, f"{top}.")
        found += [top, *(module.name for module in inside if module.ispkg and not module.name.startswith(SKIPPED))]
    return found


def modules(package: str) -> list[str]:
    """The modules right inside a package, less those that only register components or hold their keys."""
    inside = pkgutil.iter_modules(importlib.import_module(package).__path__)
    names = [module.name for module in inside if not module.ispkg]
    return [name for name in names if not name.startswith("_") and name != "hooks" and not name.endswith("configs")]


def page(package: str) -> str:
    """The page of a package: what it exports under its own name, then what else its modules hold."""
    home = importlib.import_module(package)
    exported = {name: getattr(getattr(home, name), "__module__", package) for name in getattr(home, "__all__", [])}
    elsewhere = [name for name, module in exported.items() if not module.startswith(package)]
    lines = [*_section(package, "=", elsewhere)]
    for name in modules(package):
        lines += _section(f"{package}.{name}", "-", list(exported), hidden=name in exported)
    return "\n".join(lines)


def _section(module: str, underline: str, excluded: Sequence[str], hidden: bool = False) -> Iterator[str]:
    """Documentation of a module; a hidden one has the name of a function, which is what links lead to."""
    yield from [module, underline * len(module), "", f".. automodule:: {module}", "   :members:"]
    if excluded:
        yield f"   :exclude-members: {', '.join(excluded)}"
    if hidden:
        yield "   :no-index:"
    yield ""


def write(app: Sphinx) -> None:
    """Writes the pages; one that would stay the same is not touched, so that it need not be built again."""
    folder = Path(app.srcdir) / "api"
    folder.mkdir(exist_ok=True)
    pages = {folder / f"{name}.rst": page(name) for name in packages()}
    for stale in set(folder.glob("*.rst")) - set(pages):
        stale.unlink()
    for path, text in pages.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def escape(app: Sphinx, what: str, name: str, subject: Any, options: Any, lines: list[str]) -> None:
    """Keeps ``*event`` and ``|x|`` in a docstring from being read as markup."""
    lines[:] = _SIGN.sub(lambda match: match[1] or f"\\{match[3]}", "\n".join(lines)).split("\n")


def skip(app: Sphinx, what: str, name: str, subject: Any, skipped: bool, options: Any) -> bool | None:
    """Leaves out builders of components, which recipes call, and what another package's metaclass wrote into a class of ours."""
    home = getattr(subject, "__module__", None) or "chainkit"
    return True if home.startswith("matplotlib") or (name == "build" and home.startswith("chainkit_")) else None


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("builder-inited", write)
    app.connect("autodoc-process-docstring", escape, priority=100)
    app.connect("autodoc-skip-member", skip)
    return {"parallel_read_safe": True}
