"""Tracing: which plugin answered which hook, how long it took, and what it said."""

from __future__ import annotations

import re
import types
from pathlib import Path

import attrs
import pytest

import chainkit
from chainkit import contract
from chainkit.component import Component
from chainkit.host import Host
from chainkit.testing import TINY_RECIPE, TinyParts, tiny_host, tiny_run
from chainkit.tracing import LONGEST, brief

LINE = re.compile(r"chainkit: trace: (\w+) +(\S.*?) +\d+\.\d{4} s (.*)")


@attrs.frozen(kw_only=True)
class Nothing:
    """Nothing to set."""


class Watching:
    """A plugin with a hook and an observer with one."""

    chainkit_api = (1, 1)

    @chainkit.hookimpl
    def chainkit_observers(self):
        observer = types.SimpleNamespace(chainkit_epoch_end=chainkit.hookimpl(lambda run: None))
        return [Component(name="watch", config=Nothing, build=lambda config, context: observer)]

    @chainkit.hookimpl
    def chainkit_checkpoint_save(self, run):
        return {"seen": run.update}


def lines(said: str) -> list[tuple[str, ...]]:
    return [match.groups() for match in map(LINE.fullmatch, said.splitlines()) if match]


def test_loading_says_a_line_for_every_hook(capsys):
    Host(tracing=True).add(TinyParts(), "tiny")
    said = capsys.readouterr().err
    assert said.splitlines()[0].split() == ["chainkit:", "trace:", "import", "tiny"]
    hooks = [name for name in vars(TinyParts) if name in contract.SPECIFIED]
    assert [(hook, plugin) for hook, plugin, _ in lines(said)] == [("import", "tiny"), *((hook, "tiny") for hook in sorted(hooks))]
    assert {answer for hook, _, answer in lines(said) if hook != "import"} == {"tiny"}


def test_a_run_says_a_line_for_every_plugin_and_observer_that_answers(tmp_path, capsys):
    host = tiny_host(watching=Watching())
    host.tracing = True
    tiny_run(tmp_path, TINY_RECIPE, "observers=[{type='watch'}]", "train.max_updates=3", host=host)
    found = lines(capsys.readouterr().err)
    assert [line for line in found if line[1] != "figures"] == [
        ("chainkit_epoch_end", "watch (observers.0)", "nothing"),
        ("chainkit_checkpoint_save", "watching", "{'seen': 3}"),
        ("chainkit_checkpoint_save", "watching", "{'seen': 3}"),
    ]


def test_a_hook_that_raises_is_traced_too(capsys):
    @chainkit.hookimpl
    def chainkit_priors():
        raise ValueError("no luck")

    host = Host(tracing=True)
    host.add(types.SimpleNamespace(chainkit_api=(1, 1), chainkit_priors=chainkit_priors), "bad")
    assert ("chainkit_priors", "bad", "raised ValueError") in lines(capsys.readouterr().err)


@pytest.mark.parametrize(("words", "environment"), [(["--trace-plugins"], {}), ([], {"CHAINKIT_TRACE_PLUGINS": "1"})])
def test_it_is_switched_on_by_option_and_by_environment(words, environment, command):
    result = command(*words, "recipes", "ls", **environment)
    assert result.returncode == 0
    assert "trace" not in result.stdout
    assert {"chainkit_networks", "chainkit_operators", "import"} <= {hook for hook, _, _ in lines(result.stderr)}


def test_without_the_switch_nothing_is_said(command):
    assert command("recipes", "ls", CHAINKIT_TRACE_PLUGINS="0").stderr == ""


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "nothing"),
        ([], "[]"),
        ([Path("some/recipes")], "recipes"),
        ([Component(name=name, config=Nothing, build="a:b") for name in ("first", "second")], "first, second"),
        ({"a": 1}, "{'a': 1}"),
    ],
)
def test_answers_are_told_in_short(answer, said):
    assert brief(answer) == said


def test_a_long_answer_is_cut():
    assert len(brief([Path("x" * 50)] * 5)) == LONGEST
