"""Pytest fixtures: put ``pytest_plugins = ["chainkit.testing.fixtures"]`` into a ``conftest.py``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from chainkit.data import Data
from chainkit.host import Host, load_plugins
from chainkit.run import Run
from chainkit.testing.run import TINY_RECIPE, tiny_host
from chainkit.testing.run import tiny_run as make_run
from chainkit.testing.tiny import TinyChain
from chainkit.testing.tiny import tiny_chain as make_chain
from chainkit.testing.tiny import tiny_data as make_data

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.fixture
def tiny_chain() -> Callable[..., TinyChain]:
    """Makes chains whose p(x) is known exactly (:func:`chainkit.testing.tiny_chain`)."""
    return make_chain


@pytest.fixture
def tiny_data() -> Callable[..., Data]:
    """Makes data for them (:func:`chainkit.testing.tiny_data`)."""
    return make_data


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Run]:
    """Makes runs, each from the text of a recipe (:func:`chainkit.testing.tiny_run`): ``run(text, "chain.steps=4", mine=plugin)``.

    Without a text it is the tiny recipe, trained for two updates; keywords are plugins that are not installed.
    """

    def make(text: str = TINY_RECIPE, *overrides: str, **plugins: object) -> Run:
        folder = tmp_path / f"run-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        return make_run(folder, text, *overrides, host=tiny_host(**plugins))

    return make


@pytest.fixture(scope="session")
def plugins() -> Host:
    """All installed plugins; trouble with one is an error."""
    return load_plugins(strict=True)


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> torch.device:
    """The CPU, and CUDA where there is one."""
    return torch.device(request.param)
