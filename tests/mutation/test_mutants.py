"""The mutation test itself: what it changes, what it leaves alone, and that its record is complete."""

import importlib
import json
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@pytest.fixture
def tool(monkeypatch):
    """Imports a module of the tool."""
    monkeypatch.syspath_prepend(str(HERE))
    yield importlib.import_module
    for name in ("mutants", "record", "targets", "trial"):
        sys.modules.pop(name, None)


def changes(tool, folder, text):
    (folder / "formula.py").write_text(text, encoding="utf-8")
    return [(mutant.where, mutant.before, mutant.after) for mutant in tool("mutants").mutants(folder, "formula.py")]


def test_floats_and_factors_become_larger_by_1_percent_and_signs_turn(tool, tmp_path):
    found = changes(tool, tmp_path, "def f(x):\n    return -0.5 * x + 2 / x\n")
    assert [after for _, _, after in found] == [
        "return +0.5 * x + 2 / x",
        "return -0.505 * x + 2 / x",
        "return -0.5 * x - 2 / x",
        "return -0.5 * x + 2.02 / x",
    ]


def test_what_counts_becomes_one_more(tool, tmp_path):
    text = "class A:\n    def f(self, x, k):\n        return x[k - 1] ** 2 if k == 3 else [x for i in range(4 + k)]\n"
    found = changes(tool, tmp_path, text)
    assert {where for where, _, _ in found} == {"A.f"}
    assert [after for _, _, after in found] == [
        "return x[k - 1] ** 2 if k == 4 else [x for i in range(4 + k)]",
        "return x[k + 1] ** 2 if k == 3 else [x for i in range(4 + k)]",
        "return x[k - 2] ** 2 if k == 3 else [x for i in range(4 + k)]",
        "return x[k - 1] ** 3 if k == 3 else [x for i in range(4 + k)]",
        "return x[k - 1] ** 2 if k == 3 else [x for i in range(5 + k)]",
        "return x[k - 1] ** 2 if k == 3 else [x for i in range(4 - k)]",
    ]


def test_what_is_no_formula_is_left_alone(tool, tmp_path):
    text = '''"""On 3 things."""


class Settings:
    rate: float = 0.3


def f(x, rate: float = 0.1, *, name: str = "a 7"):
    """Adds 2."""
    if not 0 < rate < 1:
        raise ValueError(f"not {rate + 1}")
    assert rate > 0.01
    return x.sum(1, keepdim=True).flatten(-2).mean(dim=-1).view(2, 3) * x.shape[0], "a" + name
'''
    assert changes(tool, tmp_path, text) == []


def test_a_mutant_changes_what_it_says_and_nothing_else(tool):
    path = "chainkit/distributions/gaussian.py"
    source = (ROOT / path).read_bytes()
    for mutant in tool("mutants").mutants(ROOT, path):
        lines, changed = source.decode().splitlines(), mutant.applied(source).decode().splitlines()
        different = [i for i, (old, new) in enumerate(zip(lines, changed, strict=True)) if old != new]
        assert different == [mutant.line - 1]
        assert (lines[different[0]].strip(), changed[different[0]].strip()) == (mutant.before, mutant.after)
        compile(mutant.applied(source), path, "exec")


def test_all_mutants_of_all_targets_can_be_told_apart_and_compile(tool):
    keys = []
    for path in tool("targets").targets(ROOT):
        source = (ROOT / path).read_bytes()
        found = tool("mutants").mutants(ROOT, path)
        keys += [mutant.key for mutant in found]
        for mutant in found:
            compile(mutant.applied(source), path, "exec")
    assert len(keys) == len(set(keys)) > 400


def test_reasons_are_about_lines_that_are_still_there(tool):
    keys = {mutant.key for path in tool("targets").targets(ROOT) for mutant in tool("mutants").mutants(ROOT, path)}
    assert set(tool("record").reasons()) <= keys


@pytest.mark.parametrize(("after", "killed"), [(b"1.0", True), (b"0.50", False)])
def test_a_trial_is_killed_by_a_failing_test_and_survives_otherwise(tool, tmp_path, after, killed):
    (tmp_path / "half.py").write_text("HALF = 0.5\n")
    (tmp_path / "test_half.py").write_text("import half\n\ndef test_half():\n    assert half.HALF == 0.5\n")
    trial = tool("trial")
    trial.start(tmp_path, "half.py", b"HALF = " + after, ["test_half.py"], 60)
    assert trial.wait()[1].killed is killed
    assert (tmp_path / "half.py").read_text() == "HALF = 0.5\n"


def test_the_page_of_the_record_is_not_stale_and_every_survivor_has_a_reason(tool):
    folder = ROOT / "docs" / "records" / "mutation"
    record = json.loads((folder / "verdicts.json").read_text(encoding="utf-8"))
    assert (folder / "README.md").read_text(encoding="utf-8") == tool("record").page(record), "run python tests/mutation/run.py --record"
    assert all(survivor["reason"] for survivor in record["survivors"])
