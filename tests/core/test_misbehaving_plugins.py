"""What a plugin that misbehaves costs, and whom: real packages, and real runs for the hooks of a run.

Each row of the table is a package that is installed beside the shipped ones. Whatever it does, commands
that do not need it work, one line says what is wrong with which plugin of which distribution and
version, strict mode fails, and a recipe that needs its component recalls why it is missing.
"""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import attrs
import pytest

from chainkit import contract, hookspecs

ROOT = Path(__file__).parents[2]

GOOD = """
import attrs, chainkit
from chainkit.component import Component
chainkit_api = (1, 1)

@attrs.frozen(kw_only=True)
class Config:
    "Nothing to set."

@chainkit.hookimpl
def chainkit_schedules():
    return [Component(name="flat", config=Config, build="nowhere:build")]
"""


def hook(name: str, body: str) -> str:
    """The good plugin, with an implementation of a hook that takes the place of its own."""
    arguments = ", ".join(inspect.signature(getattr(hookspecs, name)).parameters)
    return f"{GOOD}\n@chainkit.hookimpl\ndef {name}({arguments}):\n    {body}\n"


@attrs.frozen(kw_only=True)
class Misbehaviour:
    """A package, and what is to be said of it.

    Arguments:
        source: Its module.
        lost: Why it is not loaded; ``*`` stands for anything; None where it is loaded.
        noted: What is said of it although it is loaded, or of others; None for nothing.
        entries: Lines of its entry points, where they are not one of the name ``bad``.
        more: Another distribution beside it.
        torch: A torch that is imported in a moment.
    """

    source: str = GOOD
    lost: str | None = None
    noted: str | None = None
    entries: str = ""
    more: dict[str, Any] | None = None
    torch: str = ""

    @property
    def warning(self) -> str | None:
        return self.noted if self.lost is None else f"plugin bad of bad-dist 1.2 could not be loaded: {self.lost}"

    @property
    def clashes(self) -> bool:
        return self.noted is not None and "is registered by" in self.noted


def broken(source: str, lost: str, **more: Any) -> Misbehaviour:
    return Misbehaviour(source=source, lost=lost, **more)


REGISTRATION = [name for name in contract.SPECIFIED if contract.registers(name)]
TABLE = {
    "raises at import": broken("1 / 0", "ZeroDivisionError: division by zero (bad_dist.py, line 1)"),
    "raises SystemExit at import": broken("raise SystemExit('goodbye')", "SystemExit: goodbye (bad_dist.py, line 1)"),
    "raises what is no Exception": broken("class Odd(BaseException): pass\nraise Odd('a', 1)", "Odd: ('a', 1) (bad_dist.py, line 2)"),
    "raises what cannot be printed": broken(
        "class Odd(Exception):\n    def __str__(self): 1 / 0\nraise Odd",
        "Odd: its message cannot be read, ZeroDivisionError (bad_dist.py, line 3)",
    ),
    "raises many lines": broken("raise ValueError('first\\n\\n  second')", "ValueError: first second (bad_dist.py, line 1)"),
    "calls itself": broken("def f(): f()\nf()", "RecursionError: maximum recursion depth exceeded (bad_dist.py, line 1)"),
    "is no Python": broken("def", "SyntaxError: invalid syntax (bad_dist.py, line 1)*"),
    "needs what is not installed": broken(
        "import surely_absent", "ModuleNotFoundError: No module named 'surely_absent' (bad_dist.py, line 1)"
    ),
    "is itself absent": broken("", "ModuleNotFoundError: No module named 'nowhere'*", entries="bad = nowhere"),
    "names an object that is absent": broken(
        "", "AttributeError: module 'bad_dist' has no attribute 'hooks'*", entries="bad = bad_dist:hooks"
    ),
    "names no module": broken("", "*", entries="bad = not a module!"),
    "is slow to import": Misbehaviour(
        # The clock goes forward while it is imported: a long import that keeps nobody waiting.
        source=GOOD + "import time\nclock = time.perf_counter\ntime.perf_counter = lambda: clock() + 60\n",
        noted="plugin bad of bad-dist 1.2: it takes 60.? s to load, which makes every command slow",
    ),
    "imports torch": Misbehaviour(
        source=GOOD + "import torch\n",
        torch="# quick\n",
        noted="plugin bad of bad-dist 1.2: it imports torch while it is loaded, which makes every command slow",
    ),
    "prints at import": Misbehaviour(source=GOOD + "print('drivel')\n"),
    "prints in a hook": Misbehaviour(source=hook("chainkit_priors", "print('drivel')\n    return []")),
    "warns at import": Misbehaviour(source=GOOD + "import warnings\nwarnings.warn('drivel')\n"),
    "replaces standard output": Misbehaviour(source=GOOD + "import io, sys\nsys.stdout = io.StringIO()\n"),
    "states no API": broken("", "it does not state its API range, such as chainkit_api = (1, 1)"),
    "asks for a newer API": broken(
        GOOD.replace("(1, 1)", "(2, 3)"), "it was written for chainkit API 2 to 3, and chainkit * has 1: update chainkit"
    ),
    "asks for an older API": broken(
        GOOD.replace("(1, 1)", "(0, 0)"), "it was written for chainkit API 0 to 0, and chainkit * has 1: update the plugin"
    ),
    "misspells a hook": broken(
        GOOD.replace("chainkit_schedules", "chainkit_scheduls"), "there is no hook 'chainkit_scheduls'; did you mean 'chainkit_schedules'*"
    ),
    "misspells a hook without a mark": broken(
        GOOD + "def chainkit_prior(): return []\n", "there is no hook 'chainkit_prior'; did you mean 'chainkit_priors'*"
    ),
    "forgets to mark a hook": broken(
        GOOD + "def chainkit_priors(): return []\n", "chainkit_priors is not a function marked with @chainkit.hookimpl"
    ),
    "has a list for a hook": broken(GOOD + "chainkit_priors = []\n", "chainkit_priors is not a function marked with @chainkit.hookimpl"),
    "implements a hook twice": broken(
        GOOD + "@chainkit.hookimpl(specname='chainkit_schedules')\ndef more(): return []\n",
        "chainkit_schedules is implemented more than once",
    ),
    "misnames an argument": broken(
        GOOD + "@chainkit.hookimpl\ndef chainkit_run_end(color): pass\n", "PluginValidationError: *Argument(s) {'color'} are declared*"
    ),
    "registers a name twice": broken(
        GOOD.replace('"nowhere:build")]', '"nowhere:build")] * 2'), "chainkit_schedules registers the name 'flat' twice"
    ),
    "has an example that is no table": broken(
        GOOD.replace('"nowhere:build"', '"nowhere:build", example=["flat"]'), "chainkit_schedules: the example of 'flat' is not a table"
    ),
    "provides what is no type": broken(
        GOOD.replace('"nowhere:build"', '"nowhere:build", provides=["fast"]'),
        "chainkit_schedules: what 'flat' provides is neither a tuple of types nor a function",
    ),
    "needs what is no type": broken(
        GOOD.replace('"nowhere:build"', '"nowhere:build", needs={"prior": "fast"}'),
        "chainkit_schedules: what 'flat' needs is not a table of tuples of types",
    ),
    "needs something of no part of a recipe": broken(
        GOOD.replace('"nowhere:build"', '"nowhere:build", needs={"datset": (int,)}'),
        "chainkit_schedules: 'flat' needs something of a 'datset', of which a recipe has not one; did you mean 'dataset'?",
    ),
    "ships recipes in no folder": broken(
        hook("chainkit_recipes", "import pathlib; return [pathlib.Path('/surely/absent')]"),
        "chainkit_recipes: there is no folder /surely/absent",
    ),
    "has keys with a default that fails": broken(
        GOOD.replace('"Nothing to set."', "value: int = attrs.field(factory=lambda: 1 // 0)"),
        "chainkit_schedules: the config of 'flat' has keys that cannot be listed: ZeroDivisionError: *",
    ),
    "has a config that is no reference": broken(
        GOOD.replace("config=Config", 'config="Config"'),
        "chainkit_schedules: the config of 'flat' is neither a class nor a reference 'package.module:Class'",
    ),
    "has two entry points of one name": Misbehaviour(
        entries="bad = bad_dist\nbad = bad_dist",
        noted="plugin bad of bad-dist 1.2 could not be loaded: its module is that of plugin bad@bad-dist",
    ),
    "clashes with another package": Misbehaviour(
        more={"distribution": "worse-dist", "source": GOOD, "plugin": "worse", "version": "3.0"},
        noted="schedule 'flat' is registered by plugin bad of bad-dist 1.2 and plugin worse of worse-dist 3.0; "
        "write 'bad:flat' or 'worse:flat'",
    ),
    "has the name of another plugin": Misbehaviour(
        more={"distribution": "worse-dist", "source": GOOD.replace('"flat"', '"steep"'), "plugin": "bad"},
    ),
    "is installed twice": Misbehaviour(
        more={"distribution": "bad-dist", "source": GOOD, "plugin": "bad", "version": "1.2.1"},
        noted="plugin bad of bad-dist 1.2*: bad-dist is installed twice: 1.2* in *, which is used, and 1.2* in *",
    ),
    "adds a command that exists": Misbehaviour(
        source=GOOD + "import click\n@chainkit.hookimpl\ndef chainkit_commands(group): group.add_command(click.Command('check'))\n",
        noted="plugin bad of bad-dist 1.2: chainkit_commands raised ValueError: there is a command 'check' already*",
    ),
    **{
        f"{words} in chainkit_commands": Misbehaviour(
            source=hook("chainkit_commands", body), noted=f"plugin bad of bad-dist 1.2: chainkit_commands raised {error}*"
        )
        for words, body, error in (
            ("raises", "raise ValueError('no luck')", "ValueError: no luck (bad_dist.py, line 16)"),
            ("exits", "raise SystemExit(5)", "SystemExit: 5 (bad_dist.py, line 16)"),
        )
    },
    **{
        f"raises in {name}": broken(hook(name, "raise ValueError('no luck')"), f"{name} raised ValueError: no luck (bad_dist.py, line 16)")
        for name in REGISTRATION
    },
    **{f"returns the wrong type from {name}": broken(hook(name, "return {1, 2}"), f"{name} returned *") for name in REGISTRATION},
}

DRIVER = """
import json, os, sys, tempfile
import chainkit.cli, chainkit.cli.check, chainkit.cli.components, chainkit.cli.plugins, chainkit.cli.recipes, chainkit.host
chainkit.host.load_plugins()

def run(site, arguments):
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if child == 0:
            os.dup2(out.fileno(), 1), os.dup2(err.fileno(), 2)
            sys.path.insert(0, site)
            code = chainkit.cli.main(arguments)
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        out.seek(0), err.seek(0)
        return {"code": code, "out": out.read().decode(), "err": err.read().decode()}

for line in sys.stdin:
    print(json.dumps(run(*json.loads(line))), flush=True)
"""
"""Runs each command in a fork of a process that has loaded the shipped plugins, and finds those of a folder besides."""

UNRELATED = {
    "recipes ls": ["recipes", "ls"],
    "check": ["check", "infusion_digits"],
    "plugins": ["plugins", "--json"],
    "help": ["--help"],
    "components": ["components", "--json"],
}
NEEDS = ["check", "infusion_digits", "--set", "process.rate=flat"]
COMMANDS = {**UNRELATED, "strict": ["--strict-plugins", "plugins"], "needs": NEEDS}


@attrs.frozen(kw_only=True)
class Result:
    """What one command left behind."""

    code: int
    out: str
    err: str

    @property
    def warnings(self) -> list[str]:
        return [line.removeprefix("chainkit: warning: ") for line in self.err.splitlines() if line.startswith("chainkit: warning: ")]


Run = Callable[[Path, list[str]], Result]


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """Runs a command that sees the packages in a folder."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CHAINKIT_")}
    paths = [str(ROOT), str(ROOT / "plugins"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**inherited, "PYTHONPATH": os.pathsep.join(paths)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", DRIVER], text=True, env=environment, **pipes) as driver:

        def ask(site: Path, arguments: list[str]) -> Result:
            driver.stdin.write(json.dumps([str(site), arguments]) + "\n")
            driver.stdin.flush()
            return Result(**json.loads(driver.stdout.readline()))

        yield ask


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, distribute: Callable[..., None], run: Run) -> Callable[[str], dict[str, Result]]:
    """Every command with a package of the table installed, run once."""
    done: dict[str, dict[str, Result]] = {}

    def of(name: str) -> dict[str, Result]:
        if name not in done:
            site, row = tmp_path_factory.mktemp("site"), TABLE[name]
            distribute(site, "bad-dist", row.source, plugin="bad", entries=row.entries)
            if row.more is not None:
                distribute(site, **row.more)
            if row.torch:
                (site / "torch.py").write_text(row.torch)
            done[name] = {command: run(site, words) for command, words in COMMANDS.items()}
        return done[name]

    return of


every = pytest.mark.parametrize("name", TABLE)


@every
def test_unrelated_commands_work(name, results):
    found = results(name)
    assert {command: found[command].code for command in UNRELATED} == dict.fromkeys(UNRELATED, 0)
    assert "Traceback" not in "".join(result.err for result in found.values())
    assert found["help"].out.startswith("Usage: chainkit [OPTIONS] COMMAND")
    assert "infusion_digits" in found["recipes ls"].out
    assert "infusion_digits is in order" in found["check"].err
    assert "drivel" not in "".join(found[command].out for command in UNRELATED)
    assert any(component["name"] == "infusion" for component in json.loads(found["components"].out))


@every
def test_one_line_says_what_is_wrong(name, results):
    for command in UNRELATED:
        warnings = results(name)[command].warnings
        assert len(warnings) == (TABLE[name].warning is not None), warnings
        assert all(fnmatchcase(line, TABLE[name].warning) for line in warnings), warnings


@every
def test_plugins_lists_it_with_the_reason(name, results):
    row, listed = TABLE[name], json.loads(results(name)["plugins"].out)
    found = [plugin for plugin in listed if plugin["distribution"] == "bad-dist"]
    assert found[0]["state"] == ("loaded" if row.lost is None else "broken")
    assert found[0]["version"].startswith("1.2")
    if row.lost is not None:
        assert fnmatchcase(found[0]["reason"], row.lost)
        assert found[0]["components"] == []
    assert {plugin["state"] for plugin in listed if plugin["distribution"] == "chainkit"} == {"loaded"}


@every
def test_strict_mode_fails(name, results):
    row, strict = TABLE[name], results(name)["strict"]
    assert strict.code == (0 if row.warning is None else 3)
    if row.warning is not None:
        [line] = [line for line in strict.err.splitlines() if line.startswith("chainkit: error: ")]
        assert fnmatchcase(line.removeprefix("chainkit: error: "), row.warning)
        assert strict.out == ""


@every
def test_a_recipe_that_needs_its_component_recalls_why_it_is_missing(name, results):
    row, needs = TABLE[name], results(name)["needs"]
    if row.lost is not None:
        said = (
            f"chainkit: error: process.rate.type: there is no schedule 'flat'*; plugin bad of bad-dist 1.2 could not be loaded: {row.lost}"
        )
        assert needs.code == 2
        assert any(fnmatchcase(line, said) for line in needs.err.splitlines()), needs.err
    elif row.clashes:
        assert needs.code == 2
        assert f"chainkit: error: process.rate.type: {row.noted}" in needs.err.splitlines()
    else:
        assert needs.code == 0


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("bad_dist:Absent", "the config bad_dist:Absent cannot be imported: AttributeError: *"),
        ("absent.configs:Config", "the config absent.configs:Config cannot be imported: ModuleNotFoundError: No module named 'absent'"),
        ("bad_dist:GOOD", "bad_dist:GOOD is not an attrs class"),
    ],
)
def test_a_config_given_by_reference_is_found_wanting_when_it_is_asked_for(reference, reason, tmp_path, distribute, run):
    distribute(tmp_path, "bad-dist", GOOD.replace("config=Config", f'config="{reference}"') + "GOOD = 1\n", plugin="bad")
    for words in UNRELATED.values():
        if words[0] != "components":
            found = run(tmp_path, words)
            assert (found.code, found.warnings) == (0, [])
    needs = run(tmp_path, NEEDS)
    assert needs.code == 3
    assert fnmatchcase(needs.err, f"*chainkit: error: *{reason}\n"), needs.err
    listed = run(tmp_path, UNRELATED["components"])
    assert fnmatchcase(listed.warnings[0], f"plugin bad of bad-dist 1.2 could not be loaded: {reason}")
    assert listed.code == 0
    assert "flat" not in [component["name"] for component in json.loads(listed.out)]


def test_a_config_given_by_reference_is_as_good_as_a_class(tmp_path, distribute, run):
    distribute(tmp_path, "bad-dist", GOOD.replace("config=Config", 'config="bad_dist:Config"'), plugin="bad")
    assert run(tmp_path, NEEDS).code == 0


def test_a_name_that_clashes_is_written_with_its_plugin(tmp_path, distribute, run):
    for distribution in ("bad-dist", "worse-dist"):
        distribute(tmp_path, distribution, GOOD)
    assert run(tmp_path, [*NEEDS[:-1], "process.rate=worse-dist:flat"]).code == 0


def test_two_packages_with_one_entry_point_name_both_load(results):
    listed = json.loads(results("has the name of another plugin")["plugins"].out)
    found = {plugin["id"]: (plugin["state"], plugin["components"]) for plugin in listed if plugin["name"] == "bad"}
    assert found == {"bad@bad-dist": ("loaded", ["schedule:flat"]), "bad@worse-dist": ("loaded", ["schedule:steep"])}


def test_a_plugin_that_ends_the_process_is_the_last_line_of_the_trace(tmp_path, distribute, run):
    distribute(tmp_path, "bad-dist", "import os\nos._exit(9)", plugin="bad")
    result = run(tmp_path, ["--trace-plugins", "plugins"])
    assert (result.code, result.out) == (9, "")
    assert result.err.splitlines()[-1].split() == ["chainkit:", "trace:", "import", "bad", "bad_dist"]


def test_a_plugin_that_hangs_is_named_when_it_is_interrupted(tmp_path, distribute, run):
    distribute(tmp_path, "bad-dist", "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nsignal.pause()", plugin="bad")
    result = run(tmp_path, ["plugins"])
    assert (result.code, result.out) == (130, "")
    assert result.err.split("\n\n") == ["chainkit: plugin bad of bad-dist 1.2 was being loaded", "chainkit: interrupted\n"]


def test_a_plugin_from_a_wheel_is_found_shown_and_left_out(tmp_path, run):
    wheel, site = tmp_path / "flat_rate-0.4-py3-none-any.whl", tmp_path / "site"
    info = "flat_rate-0.4.dist-info"
    files = {
        "flat_rate.py": GOOD,
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: flat-rate\nVersion: 0.4\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: by-hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[chainkit]\nflat = flat_rate\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    installer = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*installer, "--target", str(site), str(wheel)], check=True)
    shown = json.loads(run(site, ["components", "show", "schedule:flat", "--json"]).out)
    assert (shown["plugin"], shown["distribution"], shown["version"]) == ("flat", "flat-rate", "0.4")
    result = run(site, ["--disable-plugin", "flat-rate", *NEEDS])
    assert result.code == 2
    assert "plugin flat of flat-rate 0.4 is disabled" in result.err
