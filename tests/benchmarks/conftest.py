"""The benchmarks are scripts that import each other by name; their tests use random digits, which are read at once."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def _random_digits(monkeypatch, tmp_path):
    monkeypatch.setenv("CHAINKIT_DATA", str(tmp_path))
