"""The how-to pages: their commands are accepted as they stand, their recipes are in order, their Python runs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from chainkit.cli import main
from chainkit.cli.group import CommandLine

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "how-to").glob("*.md"))
QUICK = ["train.max_updates=2", "train.statistics_examples=50", "sample.n=4", "evaluate.examples=5", "evaluate.estimators=['lower-bound']"]
PHOTOGRAPHS = """
[chain]
steps = 2
prior = "gaussian"
operator = "infusion-gaussian"
[process]
type = "infusion"
[objective]
type = "denoising"
[train]
optimizer = "adam"
"""


def commands() -> list[str]:
    return [line.strip() for page in PAGES for line in re.findall(r"^ {4,}chainkit .+$", page.read_text(encoding="utf-8"), re.MULTILINE)]


@pytest.mark.parametrize("line", dict.fromkeys(commands()))
def test_a_command_takes_its_options_and_its_settings(line: str) -> None:
    _, name, *arguments = shlex.split(line)
    group = CommandLine()
    with click.Context(group, info_name="chainkit") as context:
        context.params = {}
        command = group.get_command(context, name)
        assert command is not None
        parsed = command.make_context(name, list(arguments), parent=context).params
    if name == "run" and parsed["recipe"] != "RECIPE":
        assert main(["check", parsed["recipe"], *(word for setting in parsed["overrides"] for word in ("--set", setting))]) == 0


def blocks(page: str, language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```$", (ROOT / "docs" / "how-to" / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )


def test_the_table_of_the_folder_of_images_is_in_order(tmp_path: Path) -> None:
    [table] = blocks("use-your-own-images.md", "toml")
    (tmp_path / "photographs.toml").write_text(table + PHOTOGRAPHS)
    assert main(["check", str(tmp_path / "photographs.toml")]) == 0


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Trains the digits for a moment in an empty folder, which becomes the working directory."""
    monkeypatch.chdir(tmp_path)

    def train(out: str, *settings: str) -> None:
        words = [word for setting in (*settings, *QUICK) for word in ("--set", setting)]
        assert main(["run", "infusion_digits", "--out", out, *words]) == 0

    return train


@pytest.mark.parametrize(
    ("page", "runs"),
    [
        ("generate-conditionally.md", {"runs/labelled": ["data.labels=true"], "runs/infusion_digits": []}),
        ("use-from-a-notebook.md", {"runs/infusion_digits": []}),
        ("write-parts-in-research-code.md", {}),
    ],
)
def test_the_python_of_a_page_runs(page: str, runs: dict[str, list[str]], trained: Callable[..., None]) -> None:
    for out, settings in runs.items():
        trained(out, *settings)
    names: dict[str, object] = {}
    found = blocks(page, "python")
    assert found
    for block in found:
        exec(block, names)
    shapes = {"threes": (16, 1, 8, 8), "completions": (16, 1, 8, 8), "samples": (16, 1, 8, 8)}
    assert {name: tuple(names[name].state.shape) for name in shapes if name in names} == {
        name: shapes[name] for name in shapes if name in names
    }  # type: ignore[attr-defined]
