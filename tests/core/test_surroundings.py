"""A run that goes on somewhere else says what has changed, once, and keeps it."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import torch

from chainkit.errors import CheckpointError, Interrupted
from chainkit.opening import prepare_run
from chainkit.run_directory import RunDirectory
from chainkit.run_record import read_record
from chainkit.session import Session, new_run
from chainkit.surroundings import describe_environment, exactness, note_continuation
from chainkit.testing import TINY_RECIPE, tiny_host
from chainkit.testing.run import Quiet

CPU = torch.device("cpu")

pytestmark = pytest.mark.usefixtures("without_pictures")


class Stopping(Quiet):
    """Stops after some updates, as a signal does."""

    def __init__(self, *stops: int) -> None:
        super().__init__()
        self.stops = stops

    def progress(self, done: int, total: int, words: str) -> None:
        if done in self.stops:
            raise Interrupted(signal.SIGTERM)


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    """A run of six updates that was stopped after two."""
    (tmp_path / "recipe.toml").write_text(TINY_RECIPE.replace("max_updates = 2", "max_updates = 6"))
    run = new_run(tmp_path / "recipe.toml", tmp_path / "run", tiny_host(), reporter=Stopping(2))
    with pytest.raises(Interrupted):
        Session(run).complete()
    return tmp_path / "run"


def resume(path: Path, *stops: int) -> list[str]:
    """What is said of changes while a run goes on, to its end or the next stop."""
    reporter = Stopping(*stops)
    session = Session(prepare_run(RunDirectory(path), tiny_host(), reporter))
    if stops:
        with pytest.raises(Interrupted):
            session.complete()
    else:
        session.complete()
    return [line for line in reporter.lines if "bit for bit" in line]


def elsewhere(path: Path, **changes: object) -> None:
    """Makes it look as if the run had been begun under something else."""
    file = path / "environment.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_a_run_that_goes_on_where_it_was_says_and_writes_nothing(stopped: Path) -> None:
    before = (stopped / "environment.json").read_bytes()
    assert resume(stopped) == []
    assert (stopped / "environment.json").read_bytes() == before


def test_each_change_is_said_once_and_kept_with_the_update_from_which_it_holds(stopped: Path) -> None:
    elsewhere(stopped, torch="1.0", threads=64)
    now = exactness(CPU)
    said = (
        f"it goes on, but not bit for bit as it would have: torch 1.0 before, {now['torch']} now; threads 64 before, {now['threads']} now"
    )
    assert resume(stopped, 4) == [said]
    assert read_record(stopped).environment.continued == [{"update": 2, "torch": now["torch"], "threads": now["threads"]}]
    assert resume(stopped) == []
    assert len(read_record(stopped).environment.continued) == 1


def test_back_where_it_was_begun_is_another_change(stopped: Path) -> None:
    elsewhere(stopped, continued=[{"update": 1, "device": "a device that is gone"}])
    assert resume(stopped) == ["it goes on, but not bit for bit as it would have: device a device that is gone before, cpu now"]
    assert [one["device"] for one in read_record(stopped).environment.continued] == ["a device that is gone", "cpu"]


def test_an_ended_run_is_evaluated_anywhere(stopped: Path) -> None:
    resume(stopped)
    elsewhere(stopped, torch="1.0")
    assert resume(stopped) == []


def test_nothing_is_known_without_a_file_and_a_damaged_one_is_an_error(tmp_path: Path) -> None:
    assert note_continuation(tmp_path, 0, exactness(CPU)) == []
    assert not (tmp_path / "environment.json").exists()
    environment = describe_environment(exactness(CPU), {}, [])
    (tmp_path / "environment.json").write_text(json.dumps(environment | {"continued": "no list of tables"}))
    with pytest.raises(CheckpointError, match="damaged"):
        note_continuation(tmp_path, 0, exactness(CPU))
