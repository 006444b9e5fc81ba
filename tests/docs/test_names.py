"""Every object, link, exit code and variable that the documentation names exists."""

from __future__ import annotations

import importlib
import inspect
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from chainkit import errors
from chainkit.cli.failure import BROKEN_PIPE
from chainkit.errors import ChainkitError, Interrupted
from chainkit.estimator import Estimate
from chainkit.host import load_plugins
from chainkit.run_directory import RunDirectory
from chainkit.session import LOG_EVERY

ROOT = Path(__file__).parents[2]
FOLDERS = ("", "tutorial", "how-to")
WRITTEN = [path for folder in FOLDERS for path in sorted((ROOT / "docs" / folder).glob("*.md"))]
PAGES = ["README.md", "CONTRIBUTING.md", *(path.relative_to(ROOT).as_posix() for path in WRITTEN)]
OWN = ("chainkit_laplace", "chainkit_ramp")
"""Packages that the documentation builds from nothing."""


def text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def names(page: str) -> list[str]:
    found = dict.fromkeys(re.findall(r"`(chainkit(?:_\w+)?(?:\.\w+)+)(?:\([^`]*\))?`", text(page)))
    return [name for name in found if name.partition(".")[0] not in OWN]


def resolve(name: str) -> Any:
    """The object of a dotted name: the longest module in it, and attributes of that."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[length:]:
            found = getattr(found, attribute)
        return found
    raise ModuleNotFoundError(name)


@pytest.mark.parametrize("page", PAGES)
def test_every_object_that_a_page_names_exists(page: str) -> None:
    missing = []
    for name in names(page):
        try:
            resolve(name)
        except (ImportError, AttributeError) as error:
            missing.append(f"{name}: {error}")
    assert missing == []


def test_theory_names_something_of_every_component_that_computes_an_equation() -> None:
    modules = {module.__name__ for name in names("docs/theory.md") if (module := inspect.getmodule(resolve(name)))}
    entries = load_plugins(strict=True).registry.entries()
    kinds = ("operator", "process", "objective", "schedule", "prior", "estimator")
    shipped = [entry for entry in entries if entry.plugin.distribution == "chainkit" and entry.kind in kinds]
    assert len(shipped) > 30
    unnamed = [entry.qualified for entry in shipped if str(entry.component.build).partition(":")[0] not in modules]
    assert unnamed == []


@pytest.mark.parametrize("page", PAGES)
def test_every_link_to_a_file_leads_somewhere(page: str) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text(page))
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not ((ROOT / page).parent / link).exists()] == []


def test_exit_codes_are_those_of_the_errors() -> None:
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", text("docs/runs.md"), re.MULTILINE)
    listed = {int(code) for code, _ in rows}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ChainkitError)]
    fixed = [kind for kind in kinds if kind not in (ChainkitError, Interrupted)]
    signals = {Interrupted(number).exit_code for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    assert listed == {0, 1, BROKEN_PIPE, *signals, *(kind.exit_code for kind in fixed)}
    meaning = dict(rows)
    assert [kind.__name__ for kind in fixed if kind.__name__ not in meaning[str(kind.exit_code)]] == []


def test_environment_variables_are_those_of_the_code() -> None:
    sources = [path.read_text(encoding="utf-8") for folder in ("chainkit", "plugins") for path in (ROOT / folder).rglob("*.py")]
    used = set(re.findall(r"CHAINKIT_[A-Z_]+", "\n".join(sources)))
    assert used == set(re.findall(r"CHAINKIT_[A-Z_]+", text("docs/runs.md")))


def test_files_of_a_run_are_those_that_it_writes() -> None:
    listed = set(re.findall(r"^    (\S+)  ", text("docs/runs.md"), re.MULTILINE))
    documented = set(re.findall(r"^    (\S+)  ", inspect.getmodule(RunDirectory).__doc__ or "", re.MULTILINE))  # type: ignore[union-attr]
    assert documented <= listed
    assert f"every {LOG_EVERY} updates" in text("docs/runs.md")
    assert f"every {LOG_EVERY} updates" in text("docs/plugins.md")


@pytest.mark.parametrize(("nats", "dim", "width"), [(1350.598, 784, 1 / 256), (1836.27, 784, 1 / 256), (-29.0, 64, 1.0)])
def test_worked_examples_of_bits_per_dimension(nats: float, dim: int, width: float) -> None:
    estimate = Estimate(name="", meaning="", value=nats, examples=1, split="test", preparation="", dim=dim, bin_width=width)
    assert f"= {estimate.bits_per_dim:.3f} bits/dim" in text("docs/numbers.md")
