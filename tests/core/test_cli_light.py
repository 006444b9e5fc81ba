"""The command line without torch: what it starts, prints and leaves with."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from chainkit.cli import main
from chainkit.cli.failure import report
from chainkit.cli.group import CommandLine
from chainkit.errors import ChainkitError, DataError, Interrupted, NonFiniteError, RecipeError
from chainkit.host import Host

TEXT = """
data = { type = "points" }
process = { type = "walk" }
objective = { type = "fit" }
chain = { steps = 4, prior = { type = "normal" }, operator = { type = "step" } }
train = { optimizer = { type = "descent" } }
"""


@pytest.fixture
def cli(toys: Host, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The command line with the toy components for plugins."""
    monkeypatch.setattr("chainkit.cli.group.load_plugins", lambda **_: toys)
    return lambda *arguments: main(arguments)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "dots.toml"
    path.write_text(TEXT)
    return path


def test_help_check_and_listings_do_not_import_torch(recipe: Path) -> None:
    program = (
        "import sys; from chainkit.cli import main\n"
        "for words in sys.argv[1].split(';'): main(words.split())\n"
        "print(sorted({'torch', 'numpy', 'torchvision', 'sklearn', 'matplotlib'} & set(sys.modules)))"
    )
    words = f"--help;--version;check {recipe};components;plugins --json;recipes ls;recipes --help"
    result = subprocess.run([sys.executable, "-c", program, words], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


def test_help_lists_the_heavy_commands_too(cli: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli("--help") == 0
    listed = capsys.readouterr().out
    assert all(f"\n  {name} " in listed for name in ("run", "resume", "sample", "evaluate", "check", "recipes", "components", "plugins"))


def test_check_says_that_a_recipe_is_in_order(cli: Callable[..., int], recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli("check", str(recipe)) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"{recipe} is in order: fit on points, process walk, 4 steps of step\n"


def test_check_gives_the_resolved_recipe_as_json(cli: Callable[..., int], recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli("check", str(recipe), "--set", "chain.steps=6", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["ok"], answer["recipe"]["chain"]["steps"], answer["recipe"]["train"]["epochs"]) == (True, 6, 10)


def test_check_reports_every_problem_and_leaves_with_2(cli: Callable[..., int], recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli("check", str(recipe), "--set", "chain.steps=0", "--set", "seeed=1", "--json") == 2
    captured = capsys.readouterr()
    assert json.loads(captured.out)["problems"] == [
        "chain.steps: must be 1 or more, not 0",
        "seeed: is an unknown key; did you mean 'seed'?",
    ]
    assert captured.err.splitlines() == [f"chainkit: error: {problem}" for problem in json.loads(captured.out)["problems"]]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["chek"], "Did you mean 'check'"),
        (["check"], "Missing argument 'RECIPE'"),
        (["check", "nowhere.toml"], "chainkit: error: nowhere.toml: no such file"),
        (["components", "operatr"], "did you mean 'operator'"),
        (["components", "show", "operator:stepp"], "there is no operator 'stepp'; did you mean 'step'"),
        (["components", "a", "b", "c"], "give nothing, a KIND"),
        (["--nonsense"], "No such option"),
    ],
)
def test_wrong_usage_leaves_with_2_and_no_traceback(
    words: list[str], said: str, cli: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli(*words) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""


def test_components_lists_one_kind(cli: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli("components", "operator") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["operator:bits", "operator:silent", "operator:step"]
    assert lines[2].endswith("A step that states its noise.")


def test_a_component_is_shown_with_its_keys(cli: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli("components", "show", "operator:step") == 0
    shown = capsys.readouterr().out
    assert shown.startswith("operator step, from plugin toys of chainkit-toys 0.3\n\nA step that states its noise.\n")
    assert '\nnetwork: a network; default { type = "layers", hidden = [4], activation = "tanh" }\n    What computes it.\n' in shown
    assert "\nrate: a schedule; may be left out\n" in shown
    assert '\nmode: "auto" or a number; default "auto"\n' in shown
    assert shown.endswith('example\n  type = "step"\n')


def test_a_component_is_described_as_json(cli: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli("components", "show", "operator:step", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["plugin"], answer["version"], answer["provides"]) == ("toys", "0.3", ["Density", "Respaceable"])
    noise = {"name": "noise", "type": "a number", "required": False, "default": "0.1", "meaning": "Its variance."}
    assert answer["keys"][0] == noise


def test_recipes_are_copied_and_never_overwritten(
    cli: Callable[..., int], recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "mine.toml"
    assert cli("recipes", "cp", str(recipe), str(target)) == 0
    target.write_text("changed")
    assert cli("recipes", "cp", str(recipe), str(target)) == 2
    assert target.read_text() == "changed"
    assert f"{target}: exists" in capsys.readouterr().err
    assert cli("recipes", "show", str(recipe)) == 0
    assert capsys.readouterr().out == TEXT


def test_a_file_that_cannot_be_written_leaves_with_4(cli: Callable[..., int], recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli("recipes", "cp", str(recipe), "/proc/nowhere/mine.toml") == 4
    assert capsys.readouterr().err == "chainkit: error: /proc/nowhere/mine.toml: No such file or directory\n"


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (RecipeError("a: wrong", "b: wrong"), 2, "chainkit: error: a: wrong\nchainkit: error: b: wrong\n"),
        (DataError("x.npy: is empty"), 4, "chainkit: error: x.npy: is empty\n"),
        (NonFiniteError("loss: nan"), 5, "chainkit: error: loss: nan\n"),
        (Interrupted(15), 143, "chainkit: error: interrupted\n"),
        (KeyboardInterrupt(), 130, "chainkit: interrupted\n"),
        (click.Abort(), 130, "chainkit: interrupted\n"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "a.npy"), 4, "chainkit: error: a.npy: No such file or directory\n"),
        (OSError(errno.ENOSPC, "No space left on device", "run/x"), 4, "chainkit: error: run/x: No space left on device\n"),
        (SystemExit(7), 7, ""),
    ],
)
def test_expected_errors_are_one_line_each(error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(error, CommandLine()) == code
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (
            RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 8 GiB"),
            " (20.00 GiB more were asked for)",
        ),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 400 bytes. Error code 12"),
            " (400 bytes more were asked for)",
        ),
        (RuntimeError("CUDA error: out of memory"), ""),
        (MemoryError(), ""),
    ],
)
def test_too_little_memory_is_no_bug(error: BaseException, wanted: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(error, CommandLine()) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"chainkit: error: out of memory{wanted}; take a smaller train.batch_size")
    assert said.count("\n") == 1


def test_an_unexpected_error_is_called_a_bug_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(ZeroDivisionError("division by zero"), CommandLine()) == 1
    said = capsys.readouterr().err
    assert "ZeroDivisionError: division by zero" in said
    assert said.endswith("chainkit: this is a bug of chainkit; please report it with the lines above\n")


def test_tracebacks_of_expected_errors_are_shown_when_asked_for(cli: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli("--traceback", "check", "nowhere.toml") == 2
    said = capsys.readouterr().err
    assert said.startswith("Traceback (most recent call last)")
    assert said.splitlines()[-1].startswith("chainkit: error: nowhere.toml: no such file")


def test_an_error_of_the_base_class_keeps_its_exit_code() -> None:
    assert report(ChainkitError("no"), CommandLine()) == ChainkitError.exit_code


@pytest.mark.parametrize("words", [["components", "--json"], ["recipes", "ls"]])
def test_output_that_is_cut_off_is_no_error(words: list[str]) -> None:
    program = "import sys; from chainkit.cli import main; sys.exit(main(sys.argv[1:]))"
    process = subprocess.Popen([sys.executable, "-c", program, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait() == 141
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()


def test_a_full_disk_behind_standard_output_leaves_with_4() -> None:
    program = "import sys; from chainkit.cli import main; sys.exit(main(['--version']))"
    with Path("/dev/full").open("w") as full:
        result = subprocess.run([sys.executable, "-c", program], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert result.returncode == 4
    assert result.stderr == "chainkit: error: standard output: No space left on device\n"
