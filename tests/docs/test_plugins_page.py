"""The packages that the documentation builds from nothing are importable, found, checked and run."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from chainkit import hookspecs
from chainkit.component import HOOKS

ROOT = Path(__file__).parents[2]
FILE = re.compile(r'^```\w+ title="([^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)


def files(page: str) -> dict[str, str]:
    """The files that a page shows, by path."""
    return {match[1]: match[2] for match in FILE.finditer((ROOT / page).read_text(encoding="utf-8"))}


def unpack(page: str, site: Path) -> None:
    """Writes the files of a page as an installer would leave them, entry points included."""
    shown = files(page)
    for name, text in shown.items():
        path = site / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    project = tomllib.loads(shown["pyproject.toml"])["project"]
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    entries = "".join(f"{name} = {module}\n" for name, module in project["entry-points"]["chainkit"].items())
    (info / "entry_points.txt").write_text(f"[chainkit]\n{entries}")


def seeing(site: Path) -> dict[str, str]:
    """An environment in which Python finds the packages in a folder."""
    paths = [str(site), str(ROOT), str(ROOT / "plugins"), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


@pytest.fixture
def laplace(site: Path) -> Path:
    unpack("docs/plugins.md", site)
    return site


def test_the_package_is_found_without_torch(laplace: Path, command: Callable) -> None:
    (laplace / "torch.py").write_text("raise ImportError('torch is not needed here')")
    result = command("plugins", "--json", CHAINKIT_STRICT_PLUGINS="1")
    assert result.returncode == 0, result.stderr
    found = {plugin["name"]: plugin for plugin in json.loads(result.stdout)}
    assert found["laplace"]["components"] == ["operator:laplace"]
    assert found["laplace-notes"]["hooks"] == ["chainkit_commands", "chainkit_samples"]
    checked = command("check", "laplace_digits")
    assert checked.returncode == 0, checked.stderr


def test_its_component_is_shown_with_keys_and_defaults(laplace: Path, command: Callable) -> None:
    shown = command("components", "show", "operator:laplace").stdout
    assert "operator laplace, from plugin laplace of chainkit-laplace 0.1.0" in shown
    assert "floor: a number; default 0.01" in shown
    refused = command("check", "laplace_digits", "--set", "chain.operator.floor=0")
    assert refused.returncode == 2
    assert "chain.operator.floor: must be above 0, not 0" in refused.stderr


def test_its_recipe_runs_and_its_watcher_speaks(laplace: Path, command: Callable) -> None:
    small = ["train.max_updates=2", "sample.n=4", "evaluate.examples=5", "device=cpu"]
    result = command("run", "laplace_digits", "--out", "run", "--json", *[word for key in small for word in ("--set", key)])
    assert result.returncode == 0, result.stderr
    names = [figure["name"] for figure in json.loads(result.stdout)["figures"]]
    assert names == ["lower bound", "factorial baseline"]
    assert re.search(r"^samples: smallest -?\d+\.\d\d, largest ", result.stderr, re.MULTILINE)
    assert json.loads((laplace / "run" / "environment.json").read_text())["plugins"]["laplace"] == "chainkit-laplace 0.1.0"


def test_its_command_runs(laplace: Path, command: Callable) -> None:
    assert "tail-weight" in command("--help").stdout
    assert float(command("tail-weight").stdout) == pytest.approx(5.32, abs=0.01)


@pytest.mark.parametrize("page", ["docs/plugins.md", "README.md"])
def test_the_components_keep_the_promises_of_their_kind(page: str, site: Path) -> None:
    unpack(page, site)
    tests = site / "tests" / "test_components.py"
    if not tests.exists():
        tests.parent.mkdir()
        name = tomllib.loads(files(page)["pyproject.toml"])["project"]["name"]
        tests.write_text(files("docs/plugins.md")["tests/test_components.py"].replace("chainkit-laplace", name))
    result = outcome_of(site, tests)
    assert result.returncode == 0, result.stdout
    assert "1 passed" in result.stdout


def test_the_operator_agrees_with_exact_answers(laplace: Path) -> None:
    result = outcome_of(laplace, laplace / "tests" / "test_exact.py")
    assert result.returncode == 0, result.stdout
    assert "3 passed" in result.stdout


def outcome_of(site: Path, tests: Path) -> subprocess.CompletedProcess[str]:
    """Runs tests of an unpacked package."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(site), str(tests)],
        capture_output=True,
        text=True,
        cwd=site,
        env=seeing(site),
        check=False,
    )


def ten_minutes() -> tuple[str, list[list[str]]]:
    """The section at the beginning of the page, and its commands."""
    _, _, rest = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8").partition("## Ten minutes\n")
    section = rest.partition("\n## ")[0]
    return section, [shlex.split(line) for line in section.splitlines() if line.startswith("    ")]


def test_the_commands_of_the_ten_minutes_work(site: Path, command: Callable, link: Callable) -> None:
    (_, *write), *others = ten_minutes()[1]
    written = command(*write)
    assert written.returncode == 0, written.stderr
    typed = [shlex.split(line.replace(f"{sys.executable} -m chainkit", "chainkit")) for line in written.stdout.splitlines()]
    assert [["python", *words[1:]] if words[1] == "-m" else words for words in typed] == others
    (*_, project), tests, (_, *check), (_, *run) = others
    link(site / project.partition("[")[0])
    outcome = subprocess.run([sys.executable, *tests[1:], "-q"], capture_output=True, text=True, cwd=site, env=seeing(site), check=False)
    assert outcome.returncode == 0, outcome.stdout
    assert "3 passed" in outcome.stdout
    assert command(*check).returncode == 0
    ran = command(*run, "--json", "--set", "train.epochs=1", "--set", "sample.n=4", "--set", "evaluate.examples=5")
    assert ran.returncode == 0, ran.stderr
    assert [figure["name"] for figure in json.loads(ran.stdout)["figures"]] == ["lower bound", "factorial baseline"]
    assert command("components", "show", "operator:tails-logistic").returncode == 0
    assert command("check", "tails_digits", "--set", "chain.operator.floor=0.02").returncode == 0


def test_the_ten_minutes_tell_of_every_kind() -> None:
    section, _ = ten_minutes()
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(HOOKS)


def test_every_hook_and_kind_is_on_the_page() -> None:
    text = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    _, _, phases = text.partition("## Hooks by phase")
    assert [hook for hook in vars(hookspecs) if hook.startswith("chainkit_") and not re.search(rf"\b{hook}\b", phases)] == []
    assert [kind for kind in HOOKS if f"| `{kind}` |" not in text] == []
