"""``chainkit new plugin``: what it writes works at once, for every kind alone and for all of them, or nothing is written."""

from __future__ import annotations

import importlib
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import chainkit
from chainkit.cli import main
from chainkit.component import HOOKS
from chainkit.errors import RecipeError
from chainkit.host import Host, load_plugins
from chainkit.recipe import read_recipe
from chainkit.scaffold import Names, contents, write_package
from chainkit.testing import check_component, tiny_run

ROOT = Path(__file__).parents[2]
EVERY = [*HOOKS, "all"]
LONG = "a-long-name-of-just-40-characters-in-all"


def kinds_of(word: str) -> list[str]:
    return list(HOOKS) if word == "all" else [word]


def names_of(word: str) -> Names:
    return Names.of(f"written-{word}")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with one package for every kind and one for all, each on the path."""
    folder = tmp_path_factory.mktemp("written")
    with pytest.MonkeyPatch.context() as patch:
        for word in EVERY:
            patch.syspath_prepend(str(write_package(names_of(word), kinds_of(word), folder)))
        yield folder


def hooks_of(word: str) -> ModuleType:
    return importlib.import_module(f"{names_of(word).package}.hooks")


def host_with(word: str) -> Host:
    host = load_plugins(strict=True)
    host.add(hooks_of(word), names_of(word).plugin, distribution=names_of(word).distribution)
    return host


# What is written


@pytest.mark.parametrize("word", EVERY)
def test_package_has_one_component_of_each_kind_that_was_asked_for(word: str, written: Path) -> None:
    entries = [entry for entry in host_with(word).registry.entries() if entry.plugin.name == names_of(word).plugin]
    assert [entry.kind for entry in entries] == kinds_of(word)
    modules = {path.stem for path in (written / names_of(word).distribution / names_of(word).package).glob("*.py")}
    assert modules == {"__init__", "configs", "hooks", *kinds_of(word)}


@pytest.mark.parametrize("word", EVERY)
def test_no_placeholder_is_left(word: str) -> None:
    for path, text in contents(names_of(word), kinds_of(word)).items():
        assert "placeholder" not in f"{path}{text}"


@pytest.mark.parametrize("kind", HOOKS)
def test_component_keeps_the_promises_of_its_kind(kind: str, written: Path) -> None:
    host = host_with(kind)
    [entry] = [entry for entry in host.registry.entries(kind) if entry.plugin.name == names_of(kind).plugin]
    check_component(kind, entry.component, host.registry)


@pytest.mark.parametrize("word", EVERY)
def test_recipe_uses_every_component_of_the_package_on_digits(word: str, written: Path) -> None:
    host = host_with(word)
    [path] = [path for plugin, folder in host.recipes if plugin.name == names_of(word).plugin for path in folder.glob("*.toml")]
    assert path.stem == names_of(word).recipe
    read_recipe(path, host.registry)
    own = {component.partition(":")[2] for component in host.plugins[-1].components}
    used = set(re.findall(r'type = "([^"]+)"', path.read_text()))
    assert own <= used
    assert {name for name in used if name.startswith(names_of(word).plugin)} == own
    assert "digits" in {name.rpartition("-")[2] for name in used}


@pytest.mark.parametrize("word", ["operator", "all"])
def test_recipe_runs(word: str, written: Path, tmp_path: Path) -> None:
    host = host_with(word)
    text = (host.recipes[-1][1] / f"{names_of(word).recipe}.toml").read_text()
    small = ["device='cpu'", "train.max_updates=2", "sample.n=4", "evaluate.examples=8"]
    run = tiny_run(tmp_path, text, *small, host=host)
    assert run.finished
    assert {figure["name"] for figure in json.loads((run.path / "evaluation.json").read_text())} >= {"lower bound", "factorial baseline"}


def test_packages_are_loaded_and_their_recipes_checked_without_torch(written: Path, link: Callable, command: Callable, site: Path) -> None:
    for word in EVERY:
        link(written / names_of(word).distribution)
    (site / "torch.py").write_text("raise ImportError('torch is not needed here')")
    listed = command("plugins", "--json", CHAINKIT_STRICT_PLUGINS="1")
    assert listed.returncode == 0, listed.stderr
    found = {plugin["name"]: plugin for plugin in json.loads(listed.stdout)}
    assert {names_of(word).plugin for word in EVERY} <= set(found)
    assert all(not found[names_of(word).plugin]["notes"] for word in EVERY)
    for word in EVERY:
        checked = command("check", names_of(word).recipe)
        assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("name", ["a", "written-here", LONG])
def test_packages_are_formatted_and_linted_as_they_are_written(name: str, tmp_path: Path) -> None:
    folders = [write_package(Names.of(name), [kind], folder(tmp_path / kind)) for kind in HOOKS] if name == "a" else []
    folders.append(write_package(Names.of(name), list(HOOKS), tmp_path))
    for words in (["ruff", "check", "--no-cache"], ["ruff", "format", "--check", "--no-cache"]):
        result = subprocess.run([sys.executable, "-m", *words, *folders], capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def test_packages_are_typed(written: Path) -> None:
    projects = [written / names_of(word).distribution for word in EVERY]
    paths = os.pathsep.join(map(str, [*projects, ROOT, ROOT / "plugins"]))
    packages = [str(project / project.name.replace("-", "_")) for project in projects]
    words = ["--explicit-package-bases", "--disallow-untyped-defs", "--ignore-missing-imports", "--follow-imports=silent"]
    result = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file=", f"--cache-dir={written / '.mypy_cache'}", *words, *packages],
        capture_output=True,
        text=True,
        env={**os.environ, "MYPYPATH": paths},
        check=False,
    )
    assert result.returncode == 0, result.stdout


def test_template_states_the_api_range_that_chainkit_has() -> None:
    files = contents(names_of("all"), HOOKS)
    [hooks] = [text for path, text in files.items() if path.name == "hooks.py"]
    assert f"chainkit_api = ({chainkit.API_VERSION}, {chainkit.API_VERSION})" in hooks
    [readme] = [text for path, text in files.items() if path.name == "README.md"]
    assert f"version {chainkit.API_VERSION} of its plugin API" in readme


# Names


@pytest.mark.parametrize("name", ["laplace", "chainkit-laplace", "Chainkit_Laplace", "LAPLACE"])
def test_every_spelling_of_a_name_gives_the_same_names(name: str) -> None:
    names = Names.of(name)
    assert (names.plugin, names.distribution, names.package, names.recipe) == (
        "laplace",
        "chainkit-laplace",
        "chainkit_laplace",
        "laplace_digits",
    )


def test_package_and_recipe_are_identifiers() -> None:
    names = Names.of("3d.my--noise")
    assert (names.distribution, names.package, names.recipe) == ("chainkit-3d-my-noise", "chainkit_3d_my_noise", "3d_my_noise_digits")
    assert names.package.isidentifier()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "a name is made of"),
        ("-x", None),
        ("two words", "a name is made of"),
        ("../up", "a name is made of"),
        ("x/y", "a name is made of"),
        ("dash-", "a name is made of"),
        ("näme", "a name is made of"),
        ("x" * 41, "a name is made of"),
        ("chainkit", "chainkit uses this name itself"),
        ("tiny", "chainkit uses this name itself"),
        ("priors", "plugin priors of chainkit"),
        ("chainkit_priors", "plugin priors of chainkit"),
        ("vw", "there is a recipe vw_digits already"),
    ],
)
def test_name_that_cannot_be_used_is_refused_in_one_line(
    name: str, said: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", "plugin", name, "--into", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    if said is not None:
        assert said in captured.err
        assert captured.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_name_of_a_package_that_can_be_imported_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "chainkit_occupied.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert main(["new", "plugin", "occupied", "--into", str(tmp_path)]) == 2
    assert "there is a package chainkit_occupied already" in capsys.readouterr().err


# Nothing is overwritten, nothing is left behind


def test_folder_with_something_in_it_is_refused_and_an_empty_one_is_filled(tmp_path: Path) -> None:
    target = folder(tmp_path / "chainkit-mine")
    (target / "notes.txt").write_text("mine")
    with pytest.raises(RecipeError, match="chainkit-mine: exists"):
        write_package(Names.of("mine"), ["operator"], tmp_path)
    assert [path.name for path in target.iterdir()] == ["notes.txt"]
    (target / "notes.txt").unlink()
    write_package(Names.of("mine"), ["operator"], tmp_path)
    assert (target / "pyproject.toml").is_file()
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("occupy", [Path.touch, lambda path: path.symlink_to("nowhere")])
def test_file_or_link_in_its_place_is_refused(occupy: Callable[[Path], None], tmp_path: Path) -> None:
    occupy(tmp_path / "chainkit-mine")
    with pytest.raises(RecipeError, match="chainkit-mine: exists"):
        write_package(Names.of("mine"), ["operator"], tmp_path)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device", "somewhere"), KeyboardInterrupt()])
def test_failure_leaves_nothing_behind(error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, written = Path.write_text, []

    def write_some(path: Path, *arguments: Any, **keywords: Any) -> int:
        written.append(path)
        if len(written) > 5:
            raise error
        return write(path, *arguments, **keywords)

    monkeypatch.setattr(Path, "write_text", write_some)
    assert main(["new", "plugin", "mine", "--into", str(tmp_path)]) in (4, 130)
    assert len(written) == 6
    assert list(tmp_path.iterdir()) == []


def test_folder_that_is_not_there_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "plugin", "mine", "--into", str(tmp_path / "nowhere")]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_unknown_kind_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "plugin", "mine", "--kind", "operatr", "--into", str(tmp_path)]) == 2
    assert "'operatr' is not one of 'operator'" in capsys.readouterr().err


# The command


def test_command_prints_the_next_commands_and_they_can_be_typed(tmp_path: Path, link: Callable, command: Callable, site: Path) -> None:
    home = folder(tmp_path / "a folder")
    result = command("new", "plugin", "mine", "--kind", "prior", "--kind", "decay", "--into", str(home))
    assert result.returncode == 0, result.stderr
    package = home / "chainkit-mine" / "chainkit_mine"
    assert {path.stem for path in package.glob("*.py")} == {"__init__", "configs", "hooks", "prior", "decay"}
    install, test, check, run = map(shlex.split, result.stdout.splitlines())
    assert install[1:] == ["-m", "pip", "install", "-e", f"{home}/chainkit-mine[dev]"]
    assert test[1:] == ["-m", "pytest", f"{home}/chainkit-mine"]
    assert (check[-2:], run[-2:]) == (["check", "mine_digits"], ["run", "mine_digits"])
    link(home / "chainkit-mine")
    paths = os.pathsep.join(map(str, [site, ROOT, ROOT / "plugins"]))
    checked = subprocess.run(check, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths}, check=False)
    assert checked.returncode == 0, checked.stderr
    assert "mine_digits is in order" in checked.stderr


def test_command_imports_no_torch(tmp_path: Path) -> None:
    program = (
        "import sys; from chainkit.cli import main\n"
        "main(sys.argv[1:])\n"
        "print(sorted({'torch', 'numpy', 'sklearn', 'matplotlib'} & set(sys.modules)))"
    )
    words = ["new", "plugin", "mine", "--kind", "all", "--into", str(tmp_path)]
    result = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"
    assert (tmp_path / "chainkit-mine").is_dir()
