"""TensorBoard: what the event files hold, also after a run was interrupted."""

from types import SimpleNamespace

import pytest
import torch

import chainkit
from chainkit.chain import Samples
from chainkit.component import Context
from chainkit.errors import MissingPackage
from chainkit_tensorboard.configs import TensorboardConfig
from chainkit_tensorboard.hooks import chainkit_observers


@pytest.fixture
def run(tmp_path):
    data = chainkit.Data.of(torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(0)))
    return SimpleNamespace(path=tmp_path, data=data, update=0, finished=False, epoch=0)


def observer(**settings):
    (component,) = chainkit_observers()
    assert component.name == "tensorboard"
    return component.make(component.config(**settings), Context())


def log(watcher, run, *updates, shift=0.0):
    for run.update in updates:
        watcher.chainkit_step_end(run, {"update": run.update, "loss": run.update + shift, "rate": 0.5})


def events(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    return accumulator


def scalars(folder, tag="loss"):
    return [(event.step, event.value) for event in events(folder).Scalars(tag)]


def test_scalars_are_written_by_update(run):
    watcher = observer()
    watcher.chainkit_run_start(run)
    log(watcher, run, 50, 100)
    watcher.chainkit_run_end(run)
    found = events(run.path / "tensorboard")
    assert found.Tags()["scalars"] == ["loss", "rate"]
    assert scalars(run.path / "tensorboard") == [(50, 50.0), (100, 100.0)]


def test_samples_become_pictures(run):
    watcher = observer(directory="events")
    watcher.chainkit_run_start(run)
    run.update = 7
    path = [torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(k)) for k in range(3)]
    watcher.chainkit_samples(run, Samples(state=path[-1], mean=path[-1], path=path, steps=2))
    watcher.chainkit_run_end(run)
    found = events(run.path / "events")
    assert sorted(found.Tags()["images"]) == ["chain", "means", "samples"]
    (picture,) = found.Images("chain")
    assert picture.step == 7
    assert min(picture.width, picture.height) > 100


def test_a_resumed_run_continues_without_duplicates(run):
    first = observer()
    first.chainkit_run_start(run)
    log(first, run, 50, 100, 150)
    first.chainkit_run_error(run, KeyboardInterrupt())
    run.update = 100  # the last checkpoint
    second = observer()
    second.chainkit_run_start(run)
    log(second, run, 150, 200, shift=0.5)
    second.chainkit_run_end(run)
    assert scalars(run.path / "tensorboard") == [(50, 50.0), (100, 100.0), (150, 150.5), (200, 200.5)]


def test_an_error_keeps_what_was_written(run):
    watcher = observer()
    watcher.chainkit_run_start(run)
    log(watcher, run, 50)
    watcher.chainkit_run_error(run, ValueError("no"))
    assert scalars(run.path / "tensorboard") == [(50, 50.0)]


def test_an_empty_directory_is_refused():
    with pytest.raises(ValueError, match="must not be empty"):
        TensorboardConfig(directory="")


def test_a_missing_tensorboard_is_one_line_before_training(monkeypatch):
    def broken(module):
        raise ImportError("No module named 'tensorboard'")

    monkeypatch.setattr("chainkit.packages.importlib.import_module", broken)
    from chainkit_tensorboard.observer import build_tensorboard

    with pytest.raises(MissingPackage, match=r"^tensorboard cannot be imported \(No module named 'tensorboard'\): pip install tensorboard"):
        build_tensorboard(TensorboardConfig(), Context())


@pytest.mark.parametrize("directory", ["../events", "/events", "a/../../events", "a\0b", ""])
def test_event_files_stay_in_the_run_directory(directory):
    with pytest.raises(ValueError, match=r"must (lie in the run directory|not be empty)"):
        TensorboardConfig(directory=directory)
    assert TensorboardConfig(directory="events/of this run").directory == "events/of this run"
