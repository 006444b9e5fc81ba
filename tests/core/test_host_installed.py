"""Plugins as they are found on a machine: real entry points of distributions that lie in a folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

GOOD = """
import attrs, chainkit
from chainkit.component import Component
chainkit_api = (1, 1)

@attrs.frozen(kw_only=True)
class Config:
    "Nothing to set."

@chainkit.hookimpl
def chainkit_schedules():
    return [Component(name="{name}", config=Config, build="nowhere:build")]
"""

COMMAND = """
import click, chainkit
chainkit_api = (1, 1)

@click.command("fail")
def fail():
    "Fails."
    raise ValueError("no luck")

@chainkit.hookimpl
def chainkit_commands(group):
    group.add_command(fail)
"""


def states(result: Any) -> dict[str, dict[str, Any]]:
    return {plugin["id"]: plugin for plugin in json.loads(result.stdout)}


def test_broken_plugins_cost_one_line_each_and_the_rest_works(install: Callable, command: Callable, site: Path) -> None:
    install("alpha-good", GOOD.format(name="flat"))
    install("b-raises", "1 / 0")
    install("b-exits", "raise SystemExit('goodbye')")
    install("b-absent", "import surely_absent")
    install("b-chatty", "print('noise')\n" + GOOD.format(name="chatty"))
    install("b-torch", "import torch\n" + GOOD.format(name="heavy"))
    (site / "torch.py").write_text("")
    (site / "b_damaged-1.dist-info").mkdir()
    (site / "b_damaged-1.dist-info" / "entry_points.txt").write_text("[chainkit]\nno equals sign\n")
    result = command("plugins", "--json")
    assert result.returncode == 0
    found = states(result)
    assert found["alpha-good"]["state"] == found["b-chatty"]["state"] == found["b-torch"]["state"] == "loaded"
    assert found["alpha-good"]["components"] == ["schedule:flat"]
    assert found["b-raises"]["reason"] == "ZeroDivisionError: division by zero (b_raises.py, line 1)"
    assert found["b-exits"]["reason"] == "SystemExit: goodbye (b_exits.py, line 1)"
    assert found["b-absent"]["reason"] == "ModuleNotFoundError: No module named 'surely_absent' (b_absent.py, line 1)"
    lines = [line for line in result.stderr.splitlines() if line.startswith("chainkit: warning: plugin b-")]
    assert [line.split()[3] for line in lines] == ["b-absent", "b-exits", "b-raises", "b-torch"]
    assert all("of b-" in line and " 1.2" in line for line in lines)
    assert "b-torch of b-torch 1.2: it imports torch while it is loaded" in result.stderr
    assert "an unnamed distribution" in result.stderr
    assert "entry_points.txt is damaged" in result.stderr


def test_plugins_are_left_out_by_option_and_by_environment(install: Callable, command: Callable) -> None:
    install("one-dist", "1 / 0", plugin="one")
    install("two-dist", "1 / 0", plugin="two")
    result = command("--disable-plugin", "one", "plugins", "--json", CHAINKIT_DISABLE_PLUGINS="two-dist, thre")
    found = states(result)
    assert (found["one"]["state"], found["two"]["state"]) == ("disabled", "disabled")
    assert "chainkit: warning: there is no plugin 'thre' to disable" in result.stderr
    assert "ZeroDivisionError" not in result.stderr


def test_strict_mode_fails_with_the_exit_code_of_plugins(install: Callable, command: Callable) -> None:
    install("bad-dist", "1 / 0")
    for result in (command("--strict-plugins", "plugins"), command("plugins", CHAINKIT_STRICT_PLUGINS="1")):
        assert result.returncode == 3
        assert "chainkit: error: plugin bad-dist of bad-dist 1.2 could not be loaded: ZeroDivisionError" in result.stderr
        assert "Traceback" not in result.stderr
        assert result.stdout == ""


def test_strict_mode_names_every_plugin_that_is_broken(install: Callable, command: Callable) -> None:
    for name in ("first", "second"):
        install(name, "1 / 0")
    result = command("--strict-plugins", "plugins")
    lines = [line for line in result.stderr.splitlines() if "could not be loaded: ZeroDivisionError" in line]
    assert result.returncode == 3
    assert [
        line.startswith(f"chainkit: error: plugin {name} of {name} 1.2 ") for name, line in zip(("first", "second"), lines, strict=True)
    ]


def test_two_distributions_with_one_entry_point_name_both_load(install: Callable, command: Callable) -> None:
    install("first-dist", GOOD.format(name="flat"), plugin="same")
    install("second-dist", GOOD.format(name="flat"), plugin="same")
    result = command("components", "show", "schedule:flat")
    assert result.returncode == 2
    clash = "schedule 'flat' is registered by plugin same of first-dist 1.2 and plugin same of second-dist 1.2"
    assert f"chainkit: warning: {clash}; write 'same@first-dist:flat' or 'same@second-dist:flat'" in result.stderr
    assert f"chainkit: error: {clash}" in result.stderr
    shown = command("components", "show", "schedule:same@second-dist:flat", "--json")
    assert json.loads(shown.stdout)["distribution"] == "second-dist"


def test_a_distribution_that_is_installed_twice_loads_once_and_says_so(install: Callable, command: Callable, site: Path) -> None:
    install("twice", GOOD.format(name="flat"), version="1.0")
    install("twice", GOOD.format(name="flat"), version="1.1")
    result = command("plugins", "--json")
    assert states(result)["twice"]["state"] == "loaded"
    assert "twice is installed twice: 1." in result.stderr


def test_a_bug_in_a_command_of_a_plugin_is_blamed_on_the_plugin(install: Callable, command: Callable) -> None:
    install("commanding", COMMAND)
    assert "fail        Fails." in command("--help").stdout
    result = command("fail")
    assert result.returncode == 3
    assert "ValueError: no luck" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("chainkit: this is a bug of plugin commanding of commanding 1.2; please report")


def test_a_command_that_takes_the_name_of_another_is_refused(install: Callable, command: Callable) -> None:
    install("commanding", COMMAND.replace('"fail"', '"check"'))
    result = command("plugins", "--json")
    assert "chainkit_commands raised ValueError: there is a command 'check' already" in result.stderr
    assert "no luck" not in command("check", "--help").stderr
