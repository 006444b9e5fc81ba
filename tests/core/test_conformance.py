"""Every component of every installed plugin keeps the promises of its kind."""

from __future__ import annotations

import os
from pathlib import Path

import attrs
import numpy
import pytest
import torch
from PIL import Image

from chainkit.component import HOOKS
from chainkit.host import load_plugins
from chainkit.testing import Unavailable, check_component

REGISTRY = load_plugins(strict=True).registry
ENTRIES = REGISTRY.entries()
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    """The files that the examples of datasets name, and downloaded data where it lies ready."""
    monkeypatch.chdir(tmp_path)
    generator = numpy.random.default_rng(0)
    numpy.save("examples.npy", generator.random((40, 3), dtype=numpy.float32))
    folder = tmp_path / "photographs" / "all"
    folder.mkdir(parents=True)
    for number in range(20):
        Image.fromarray(generator.integers(0, 256, (8, 8, 3), dtype=numpy.uint8)).save(folder / f"{number}.png")
    if "CHAINKIT_DATA" not in os.environ and SHARED.is_dir():
        monkeypatch.setenv("CHAINKIT_DATA", str(SHARED))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry.kind}-{entry.component.name}")
def test_component_keeps_the_promises_of_its_kind(entry, device):
    offline = {"download": False} if "download" in attrs.fields_dict(entry.component.config) else {}
    try:
        check_component(entry.kind, entry.component, REGISTRY, settings=offline, device=device)
    except Unavailable as error:
        pytest.skip(str(error))


def test_components_of_every_kind_are_installed():
    assert {entry.kind for entry in ENTRIES} >= set(HOOKS)


def test_no_two_components_share_a_name():
    assert REGISTRY.clashes() == []
