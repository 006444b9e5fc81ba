"""Every shipped recipe runs from the command line to its end, made small: same parts, less of everything."""

from __future__ import annotations

import hashlib
import json
import math
import os
import pickle
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from chainkit import recording
from chainkit.cli import main
from chainkit.host import load_plugins
from chainkit.recipe.find import own_folder
from chainkit.session import new_run

RECIPES = own_folder()
DATA = Path(os.environ.get("CHAINKIT_DATA", "CHAINKIT_DATA, which is not set"))

MOST_STEPS, PRIOR_GAP_NEEDS = 30, 40
SMALL = {
    "dgsn_digits": {"data.inputs.valid": 40, "data.inputs.test": 60, "train.batch_size": 800},
    "digits": {"data.valid": 40, "data.test": 60, "train.batch_size": 800},
    "mnist": {"data.valid": 59_000, "train.batch_size": 500},
    "cifar10": {"data.valid": 12, "train.batch_size": 14},
    "celeba": {"train.batch_size": 6},
    **{name: {"data.n": 400, "data.valid": 50, "data.test": 60, "train.batch_size": 200} for name in ("swiss_roll", "grid_3x3")},
    "heartbeat": {"data.n": 400, "data.valid": 50, "data.test": 60, "train.batch_size": 200},
}


def narrow(table: dict[str, Any], path: str) -> dict[str, Any]:
    """The same layers with few units, wherever they stand in a table."""
    widths, settings = {"hidden": 8, "channels": 4}, {}
    for key, value in table.items():
        if isinstance(value, dict):
            settings |= narrow(value, f"{path}.{key}")
        elif key in widths:
            settings[f"{path}.{key}"] = [widths[key]] * len(value) if isinstance(value, list) else widths[key]
    return settings


def smaller(name: str) -> dict[str, Any]:
    """Settings under which a recipe takes a moment: two updates, one epoch where the data allows it."""
    given = tomllib.loads((RECIPES / f"{name}.toml").read_text())
    estimators = given["evaluate"]["estimators"]
    sizes = next(sizes for ending, sizes in SMALL.items() if name.endswith(ending))
    settings = {
        **sizes,
        "train.max_updates": 2,
        "train.statistics_examples": 30,
        "sample.n": 9,
        "evaluate.examples": PRIOR_GAP_NEEDS if {"type": "prior-gap"} in estimators else 6,
    }
    if given["chain"]["steps"] > MOST_STEPS:
        settings["chain.steps"] = 20
    if "validate" in given:
        settings |= {"validate.every": 1, "validate.examples": 4}
    settings |= narrow(given["chain"]["operator"], "chain.operator")
    few = {
        "lower-bound": {"walks": 2},
        "importance": {"walks": 2},
        "classifier": {"samples": 40, "epochs": 2, "train_examples": 200},
        "mmd": {"samples": 40},
        "parzen": {"samples": 40},
        "copying": {"samples": 40},
        "ais": {"steps": 5, "chains": 4},
        "raise": {"steps": 5, "walks": 2},
        "bidirectional": {"steps": 5, "walks": 2},
    }
    for number, estimator in enumerate(estimators):
        settings |= {f"evaluate.estimators.{number}.{key}": value for key, value in few.get(estimator["type"], {}).items()}
        if "data" in estimator:  # the same examples in another preparation
            settings |= {f"evaluate.estimators.{number}.{key}": value for key, value in sizes.items() if key.startswith("data.")}
    return settings


def strict(text: str) -> Any:
    """JSON as the standard has it: without NaN."""
    return json.loads(text, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))


def check_run(name: str, folder: Path, capsys: pytest.CaptureFixture[str], **more: Any) -> Path:
    """Runs a recipe through the command line and looks at all that it leaves."""
    words = [word for key, value in {**smaller(name), **more}.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    path = folder / "run"
    code = main(["run", name, "--out", str(path), *words])
    said = capsys.readouterr()
    assert code == 0, said.err
    assert "Traceback" not in said.err
    assert "warning" not in said.err
    resolved = tomllib.loads((path / "resolved.toml").read_text())
    assert (path / "recipe.toml").read_text() == (RECIPES / f"{name}.toml").read_text()
    assert strict((path / "environment.json").read_text())["plugins"]
    look_at_metrics(path, resolved)
    look_at_figures(path, resolved, said.out)
    look_at_pictures(path, said.out)
    return path


def look_at_metrics(path: Path, resolved: dict[str, Any]) -> None:
    lines = [strict(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["update"] == 2
    assert any("loss" in line for line in lines)
    assert all(math.isfinite(value) for line in lines for value in line.values())
    if "validate" in resolved:
        assert any(key.startswith("valid ") for key in lines[-1])


def look_at_figures(path: Path, resolved: dict[str, Any], printed: str) -> None:
    records = strict((path / "evaluation.json").read_text())
    assert len(records) == len(resolved["evaluate"]["estimators"])
    assert {"factorial baseline"} < {record["name"] for record in records}
    for record in records:
        assert math.isfinite(record["value"])
        assert record["unit"]
        assert record["preparation"]
        assert record["weights"].split()[-3:] == ["of", "update", "2"] or "best validation" in record["weights"]
        assert f"{record['name']} " in printed
    assert " nats" in printed
    assert any(record["error_examples"] is not None for record in records)


def look_at_pictures(path: Path, printed: str) -> None:
    pictures = {picture.name: picture for picture in (path / "pictures").glob("*.png")}
    assert {"samples.png", "chain.png", "training.png"} <= set(pictures)
    for name, picture in pictures.items():
        pixels = np.asarray(Image.open(picture).convert("L"))
        assert pixels.min() < pixels.max(), f"{name} is blank"
        assert name in printed


WITHOUT_DOWNLOAD = sorted(path.stem for path in RECIPES.glob("*.toml") if not path.stem.endswith(("mnist", "cifar10", "celeba")))


@pytest.mark.parametrize("name", WITHOUT_DOWNLOAD)
def test_a_recipe_without_download_runs_to_its_end(name, tmp_path, capsys):
    check_run(name, tmp_path, capsys)


@pytest.mark.parametrize("name", WITHOUT_DOWNLOAD)
def test_updates_recorded_on_a_tape_unasked_are_those_without_bit_by_bit(name, tmp_path, monkeypatch):
    monkeypatch.setattr(recording, "WORTH", 1)

    def trained(*settings):
        more = {"train.max_updates": 4, "device": "cpu"}
        overrides = [*(f"{key}={json.dumps(value)}" for key, value in {**smaller(name), **more}.items()), *settings]
        trainer = new_run(RECIPES / f"{name}.toml", tmp_path / str(settings), load_plugins(), overrides=overrides).trainer
        losses = [loss for _ in range(4) for loss in trainer.epoch_updates()]
        assert len(losses) == 4
        return trainer, losses, trainer.progress.take()

    (plain, losses, metrics), (recorded, again, told) = trained("train.graph=false"), trained()
    assert recorded.recording.why_not is None
    assert again == losses
    assert told == pytest.approx(metrics, rel=1e-6)
    state = plain.model.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in recorded.model.state_dict().items())


@pytest.mark.skipif(
    not (DATA / "MNIST" / "raw" / "train-images-idx3-ubyte").exists(), reason=f"no MNIST/raw/train-images-idx3-ubyte in {DATA}"
)
@pytest.mark.parametrize("name", sorted(path.stem for path in RECIPES.glob("*mnist.toml")))
def test_a_recipe_on_the_real_mnist_runs_to_its_end(name, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("CHAINKIT_DATA", str(DATA))
    check_run(name, tmp_path, capsys, **{"data.download": False})


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """A root with 68 faces of the right size, in the three splits of CelebA."""
    images = tmp_path / "celeba" / "img_align_celeba"
    images.mkdir(parents=True)
    random, lines = np.random.default_rng(0), []
    for number in range(68):
        name = f"{number:06d}.jpg"
        tiles = random.integers(0, 256, (7, 6, 3), dtype=np.uint8)
        Image.fromarray(tiles).resize((178, 218)).save(images / name)
        lines.append(f"{name} {0 if number < 12 else 1 if number < 20 else 2}\n")
    (tmp_path / "celeba" / "list_eval_partition.txt").write_text("".join(lines))
    return tmp_path


@pytest.mark.parametrize("name", sorted(path.stem for path in RECIPES.glob("*celeba.toml")))
def test_a_recipe_on_faces_runs_to_its_end(name, faces, tmp_path, capsys):
    check_run(name, tmp_path, capsys, **{"data.root": str(faces)})


@pytest.fixture
def photographs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root with 40 training and 60 test photographs as CIFAR-10 has them, and torchvision expecting just these."""
    import torchvision.datasets

    kind, random = torchvision.datasets.CIFAR10, np.random.default_rng(0)
    folder = tmp_path / kind.base_folder
    folder.mkdir()

    def write(name: str, content: dict[str, Any]) -> tuple[str, str]:
        (folder / name).write_bytes(pickle.dumps(content))
        return name, hashlib.md5((folder / name).read_bytes()).hexdigest()

    def batch(n: int) -> dict[str, Any]:
        return {"data": random.integers(0, 256, (n, 3072), dtype=np.uint8), "labels": list(range(10)) * (n // 10)}

    monkeypatch.setattr(kind, "train_list", [write("data_batch_1", batch(40))])
    monkeypatch.setattr(kind, "test_list", [write("test_batch", batch(60))])
    name, md5 = write("batches.meta", {"label_names": ["thing"] * 10})
    monkeypatch.setattr(kind, "meta", {"filename": name, "key": "label_names", "md5": md5})
    return tmp_path


@pytest.mark.parametrize("name", sorted(path.stem for path in RECIPES.glob("*cifar10.toml")))
def test_a_recipe_on_photographs_runs_to_its_end(name, photographs, tmp_path, capsys):
    check_run(name, tmp_path, capsys, **{"data.root": str(photographs), "data.download": False})
