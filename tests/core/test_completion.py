"""Shell completion: recipes, keys, components and run directories; quick, silent, and in a real shell."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete, get_completion_class

from chainkit.cli import main
from chainkit.cli.complete import Bash
from chainkit.cli.group import CommandLine
from chainkit.errors import RecipeError
from chainkit.host import Host
from chainkit.recipe import read_recipe
from chainkit.recipe.settable import settable

TEXT = """
title = "Dots"
data = { type = "points" }
process = { type = "walk" }
objective = { type = "fit" }
chain = { steps = 4, prior = { type = "normal" }, operator = { type = "step" } }
train = { optimizer = { type = "descent" } }
evaluate = { estimators = ["bound"] }
"""

Complete = Callable[..., list[str]]


@pytest.fixture
def complete(toys: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Complete:
    """The words that complete a line, the last word of which is unfinished, beside the recipe ``dots.toml`` and two runs."""
    monkeypatch.setattr("chainkit.cli.group.load_plugins", lambda **_: toys)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dots.toml").write_text(TEXT)
    for name in ("first", "second", "no_run"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        if name != "no_run":
            (tmp_path / "runs" / name / "resolved.toml").write_text(TEXT)

    def ask(*words: str) -> list[str]:
        items = ShellComplete(CommandLine(), {}, "chainkit", "_CHAINKIT_COMPLETE").get_completions(list(words[:-1]), words[-1])
        return [item.value if item.type == "plain" else f"({item.type})" for item in items]

    return ask


def test_commands_and_options_are_completed(complete: Complete) -> None:
    assert complete("re") == ["resume", "recipes"]
    assert complete("recipes", "") == ["cp", "ls", "show"]
    assert complete("--dis") == ["--disable-plugin"]


@pytest.mark.parametrize("command", ["run", "check", "recipes show", "recipes cp"])
def test_recipes_are_completed_by_name_and_by_file(command: str, complete: Complete) -> None:
    words = command.split()
    assert complete(*words, "infusion_d") == ["infusion_digits"]
    assert complete(*words, "do") == ["dots.toml"]
    assert {"vw_mnist", "dots.toml"} <= set(complete(*words, ""))
    assert complete(*words, "./some") == ["(file)"]


def test_kinds_and_components_are_completed(complete: Complete) -> None:
    assert complete("components", "o") == ["operator", "objective", "optimizer", "observer"]
    assert complete("components", "s") == ["show", "schedule"]
    assert complete("components", "show", "operator:s") == ["operator:silent", "operator:step"]
    assert complete("components", "show", "operator:step", "") == []


@pytest.mark.parametrize("words", [("dots.toml", "--set", ""), ("dots.toml", "--set=")])
def test_keys_of_the_recipe_on_the_line_are_completed(words: tuple[str, ...], complete: Complete) -> None:
    found = complete("run", *words)
    assert {"seed=", "chain.steps=", "chain.operator.network.hidden=", "train.ema=", "evaluate.estimators.0.walks=", "process="} <= set(
        found
    )
    assert len(found) == len(set(found))


def test_the_beginning_of_a_key_narrows_the_choice(complete: Complete) -> None:
    assert complete("check", "dots.toml", "--set", "seed=3", "--set", "chain.operator.n") == [
        "chain.operator.noise=",
        "chain.operator.network=",
        "chain.operator.network.type=",
        "chain.operator.network.hidden=",
        "chain.operator.network.activation=",
    ]
    assert complete("check", "dots.toml", "--set", "chain.steps=") == ["chain.steps="]


@pytest.mark.parametrize("recipe", ["nowhere", "broken.toml", ""])
def test_without_a_recipe_that_can_be_read_there_are_no_keys(recipe: str, complete: Complete) -> None:
    Path("broken.toml").write_text("data = ")
    assert complete("run", recipe, "--set", "chain.") == []


@pytest.mark.parametrize("command", ["resume", "sample", "evaluate"])
def test_run_directories_are_completed(command: str, complete: Complete) -> None:
    assert complete(command, "") == ["runs/first", "runs/second"]
    assert complete(command, "runs/s") == ["runs/second"]
    assert complete(command, "elsewhere/") == ["(dir)"]


def test_every_key_that_is_offered_is_one_of_the_recipe(toys: Host) -> None:
    keys = dict(settable(read_recipe(TEXT, toys.registry)))
    assert keys["chain.steps"] == "an integer"
    assert keys["chain.operator.rate"] == "a schedule"
    for key in keys:  # a value that no key takes: every key is known, and complains of it
        with pytest.raises(RecipeError, match=rf"^{re.escape(key)}(\.type)?: must be|^chain|^train") as error:
            read_recipe(TEXT, toys.registry, [f"{key}=1979-05-27"])
        assert "unknown key" not in str(error.value)


# As a shell asks


def ask_as_bash(line: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], str]:
    monkeypatch.setenv("_CHAINKIT_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_LINE", line)
    assert main([]) == 0
    captured = capfd.readouterr()
    return captured.out.split(), captured.err


def test_broken_plugins_are_not_spoken_of(
    site: Path, install: Callable[..., None], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    install("completing-bad", "print('drivel')\n1 / 0")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("CHAINKIT_STRICT_PLUGINS", "1")
    monkeypatch.setenv("CHAINKIT_TRACE_PLUGINS", "1")
    found, said = ask_as_bash("chainkit --strict-plugins check infusion_dig", capfd, monkeypatch)
    assert (found, said) == (["plain,infusion_digits"], "")


def test_nothing_that_is_heavy_is_imported_to_complete_a_line() -> None:
    program = (
        "import os, sys; from chainkit.cli import main\n"
        "for line in sys.argv[1:]:\n"
        "    os.environ |= {'_CHAINKIT_COMPLETE': 'bash_complete', 'COMP_LINE': line}\n"
        "    main([])\n"
        "print(sorted({'torch', 'numpy', 'torchvision', 'sklearn', 'matplotlib'} & set(sys.modules)))"
    )
    lines = ["chainkit ", "chainkit run ", "chainkit run vw_digits --set ", "chainkit components show ", "chainkit resume "]
    result = subprocess.run([sys.executable, "-c", program, *lines], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_a_script_for_every_shell(shell: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_CHAINKIT_COMPLETE", f"{shell}_source")
    assert main([]) == 0
    assert "_chainkit_completion" in capfd.readouterr().out
    assert get_completion_class("bash") is Bash


class Terminal:
    """An interactive bash that has read the completion script, with a recipe and a run in its folder."""

    def __init__(self, folder: Path, path: str) -> None:
        self.pid, self.file = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            environment = {**os.environ, "PATH": path, "PS1": "", "TERM": "dumb", "HISTFILE": ""}
            os.execvpe("bash", ["bash", "--norc", "--noprofile", "-i"], environment)
        self.send("bind 'set enable-bracketed-paste off'; stty -echo; eval \"$(_CHAINKIT_COMPLETE=bash_source chainkit)\"; echo rea''dy\r")
        self.read_until("ready")

    def send(self, text: str) -> None:
        os.write(self.file, text.encode())

    def read_until(self, sign: str) -> str:
        seen, deadline = "", time.monotonic() + 120
        while sign not in seen:
            ready, _, _ = select.select([self.file], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"{sign!r} did not come, only {seen!r}"
            seen += os.read(self.file, 4096).decode(errors="replace")
        return seen

    def completed(self, line: str) -> str:
        """The line after Tab: what bash holds is printed instead of run."""
        self.send(f"{line}\t|\x01printf '<%s>' '\x05'\r")
        seen = self.read_until("|>")
        return seen.rpartition("<")[2].removesuffix("|>")

    def close(self) -> None:
        os.write(self.file, b"\x15exit\r")
        os.close(self.file)
        os.waitpid(self.pid, 0)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    (tmp_path / "dots.toml").write_text("")
    (tmp_path / "runs" / "alone").mkdir(parents=True)
    (tmp_path / "runs" / "alone" / "resolved.toml").write_text("")
    script = tmp_path / "bin" / "chainkit"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m chainkit "$@"\n')
    script.chmod(0o755)
    opened = Terminal(tmp_path, f"{script.parent}{os.pathsep}{os.environ['PATH']}")
    yield opened
    opened.close()


def test_a_real_bash_completes_names_with_colons_keys_and_directories(terminal: Terminal) -> None:
    assert terminal.completed("chainkit compo") == "chainkit components "
    assert terminal.completed("chainkit components show operator:infusion-ga") == "chainkit components show operator:infusion-gaussian "
    assert terminal.completed("chainkit run infusion_dig") == "chainkit run infusion_digits "
    assert terminal.completed("chainkit run infusion_digits --set chain.ste") == "chainkit run infusion_digits --set chain.steps="
    assert terminal.completed("chainkit run infusion_digits --set=chain.ste") == "chainkit run infusion_digits --set=chain.steps="
    assert terminal.completed("chainkit resume ") == "chainkit resume runs/alone "
    assert terminal.completed("chainkit check ./do") == "chainkit check ./dots.toml "
