"""The tutorial is typed in as it stands: its files are written, its commands given in their order, with settings that are quick."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from chainkit.cli import main

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "tutorial"
FILE = re.compile(r'^```\w+ title="([^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)
FIGURE = re.compile(r"^```\{figure\} (\S+)\n:alt: (.+)\n(?::width: .+\n)?\n((?:.+\n)+)```$", re.MULTILINE)
QUICK = ["train.max_updates=3", "train.statistics_examples=50", "sample.n=4", "evaluate.examples=5", "evaluate.estimators=['lower-bound']"]
SHORT = {"UPDATES = 800": "UPDATES = 2", "LowerBound(walks=10)": "LowerBound(walks=1)"}
"""What is shortened in the files that a page shows."""


def typed(page: str) -> list[list[str]]:
    """The commands of a page: its indented lines outside of fences."""
    outside = re.sub(r"^```.*?^```$", "", (PAGES / page).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return [shlex.split(line) for line in outside.splitlines() if line.startswith("    ")]


def quick(command: list[str]) -> list[str]:
    """A command with settings that are quick; those of the page go first, so that they are checked too."""
    match command:
        case ["chainkit", "run", *_]:
            return [*command, *(word for setting in QUICK for word in ("--set", setting))]
        case ["chainkit", "evaluate", *_]:
            return [*command, "--walks", "2"]
        case ["chainkit", "inpaint", *_]:
            return [*command, "-n", "2"]
        case _:
            return command


@pytest.fixture
def type_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Follows a page in an empty folder, which becomes the working directory."""
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "plugins")]))

    def follow(page: str) -> None:
        for name, text in FILE.findall((PAGES / page).read_text(encoding="utf-8")):
            for words, fewer in SHORT.items():
                text = text.replace(words, fewer)
            Path(name).write_text(text, encoding="utf-8")
        commands = typed(page)
        assert commands
        for program, *arguments in map(quick, commands):
            if program == "chainkit":
                assert main(arguments) == 0, shlex.join(arguments)
            else:
                assert program == "python"
                subprocess.run([sys.executable, *arguments], check=True)

    return follow


def test_the_first_run(type_in: Callable[[str], None]) -> None:
    type_in("1-first-run.md")
    assert {path.name for path in Path("runs").iterdir()} == {"infusion_digits", "three_steps"}
    run = Path("runs/infusion_digits")
    assert [figure["name"] for figure in json.loads((run / "evaluation.json").read_text())] == ["lower bound", "importance sampling"]
    pictures = {path.name for path in (run / "pictures").glob("*.png")}
    assert {"chain.png", "training.png", "steps.png", "samples.png", "walks.png", "inpaint-left-means.png"} <= pictures
    assert (run / "report.html").exists()


def test_own_data_and_then_an_own_operator(type_in: Callable[[str], None], capsys: pytest.CaptureFixture[str]) -> None:
    type_in("2-own-data.md")
    assert json.loads(Path("runs/rings/evaluation.json").read_text())
    shown = re.search(
        r"^\$ chainkit (check .+)\n((?:chainkit: .+\n)+)", (PAGES / "2-own-data.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert shown is not None
    capsys.readouterr()
    assert main(shlex.split(shown[1])) == 2
    assert capsys.readouterr().err == shown[2]
    type_in("3-own-operator.md")


@pytest.mark.parametrize(
    "page", [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").rglob("*.md")) if "_build" not in path.parts]
)
def test_every_picture_has_a_caption_and_words_for_those_who_do_not_see_it(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    figures = FIGURE.findall(text)
    assert len(figures) == text.count("```{figure}")
    for file, words, caption in figures:
        assert ((ROOT / page).parent / file).stat().st_size < 150_000
        assert min(len(words), len(caption)) > 30
