"""Every reliability study in its briefest form, in a process of its own that forks before anything is computed."""

import importlib
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
MODULES = {path.stem for path in HERE.glob("*.py")}


@pytest.fixture(scope="module")
def tool():
    """Imports a module of the studies."""
    sys.path.insert(0, str(HERE))
    yield importlib.import_module
    sys.path.remove(str(HERE))
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """The results by study."""
    results = tmp_path_factory.mktemp("reliability") / "results.jsonl"
    words = [sys.executable, str(HERE / "run.py"), "--brief", "--results", str(results)]
    said = subprocess.run(words, capture_output=True, text=True, check=False)
    assert results.exists(), said.stderr
    lines = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
    return {line["study"]: line["record"] for line in lines}, said


NAMES = ["kills", "replacing", "resumes", "damage", "faults", "full-disk", "stops", "hangups", "insisting", "starting", "races", "machines"]
NAMES += ["nonfinite", "recipes", "typos", "hostile-runs", "hostile-recipes", "data"]


@pytest.mark.parametrize("name", NAMES)
def test_what_a_study_tries_holds(name, found):
    record = found[0][name]
    if record["skipped"]:
        pytest.skip(record["skipped"])
    assert record["failure"] == ""
    assert 0 < record["held"] == record["tried"]


def test_every_study_with_a_brief_form_is_tried_and_the_exit_code_tells_that_all_held(found, tool):
    assert set(found[0]) == {study.name for study in tool("studies").STUDIES if study.brief}
    assert set(found[0]) >= set(NAMES)
    assert found[1].returncode == 0, found[1].stdout


def test_a_comparison_shows_what_others_load(found):
    compared = found[0]["damage"]["comparison"]
    assert sum(compared["torch.load"].values()) == sum(compared["safetensors"].values()) == found[0]["damage"]["tried"]
    assert compared["safetensors"]["loaded with other content"] > 0


def test_a_study_that_finds_something_says_what_and_is_not_sound(tool):
    record = tool("study").tally(iter(["", "it differs", "again"]))
    assert (record.tried, record.held, record.failure, record.sound) == (3, 1, "it differs", False)
    assert not tool("study").tally(iter([])).sound


def test_another_byte_a_leftover_and_another_exit_code_are_found(tool, tmp_path):
    children, whole = tool("children"), tool("leavings").Whole(tmp_path, {"metrics.jsonl": b"1", "evaluation.json": b"2"})
    (tmp_path / "final").mkdir()
    (tmp_path / "checkpoints" / "1").mkdir(parents=True)
    (tmp_path / "metrics.jsonl").write_text("1")
    (tmp_path / "evaluation.json").write_text("2")
    ended = children.Ended(0, "")
    assert whole.fault(tmp_path, ended) == ""
    assert "ends with 4" in whole.fault(tmp_path, children.Ended(4, "no"))
    (tmp_path / "metrics.jsonl").write_text("3")
    assert whole.fault(tmp_path, ended) == "it differs in metrics.jsonl"
    (tmp_path / "checkpoints" / ".2.tmp").mkdir()
    assert "checkpoints/.2.tmp" in whole.fault(tmp_path, ended)


def test_a_child_that_is_killed_before_it_begins_has_said_nothing(tool, tmp_path):
    child = tool("children").start(["--version"], tmp_path / "said.txt", signal.pause)
    child.kill()
    assert child.wait() == tool("children").Ended(137, "")


def test_every_damage_changes_the_content(tool):
    damage = tool("damage")
    content = bytes(range(50))
    found = [item.done_to(content) for item in damage.corpus(500, damage.Random(0))]
    assert content not in found
    assert sum(len(one) < len(content) for one in found) == 100


def test_the_page_is_that_of_the_records(tool):
    text = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    assert text == tool("page").page(ROOT / "docs" / "records" / "reliability"), "run python tests/reliability/run.py --record"
