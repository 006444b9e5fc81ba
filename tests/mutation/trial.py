"""One trial: the tests of a file, run in a forked child in which one module is the mutant.

The parent has imported what takes long (torch above all) and nothing of this project, so that a child
starts at once and imports the project with the mutant in its place. No file is changed.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import CodeType, ModuleType
from typing import NoReturn

import attrs

HEAVY = (
    "torch",
    "torch.distributions",
    "torch.nn.functional",
    "torch.optim.swa_utils",
    "torch._dynamo.config",
    "numpy",
    "sklearn.datasets",
    "sklearn.neighbors",
    "PIL.Image",
    "hypothesis",
    "hypothesis.strategies",
    "pytest",
    "cattrs",
    "click",
    "pluggy",
    "safetensors.torch",
    "tomli_w",
)


NOTICED = (1, 2, 4)
"""Exit codes of pytest when a test fails, when a test file and when a conftest cannot be imported."""

FAILED = 10
"""Exit code of a child in which the first of its test files fails; that of the next is one more."""

QUICK = ("-x", "-q", "--tb=no", "--assert=plain", "-p", "no:cacheprovider")
"""Nobody reads what a trial says."""


@attrs.frozen
class Verdict:
    """How a trial ended.

    Arguments:
        killed: Whether a test noticed.
        how: ``failed``, ``time limit``, or ``passed``.
        seconds: Processor time that it took.
        place: Which of its test files failed.
    """

    killed: bool
    how: str
    seconds: float
    place: int | None = None


def prepare() -> None:
    """Imports what all trials need, before the first of them."""
    for name in HEAVY:
        importlib.import_module(name)
    import hypothesis
    import torch

    torch.set_num_threads(1)
    phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
    hypothesis.settings.register_profile("mutation", database=None, derandomize=True, deadline=None, phases=phases)
    hypothesis.settings.load_profile("mutation")


class _Mutated(importlib.machinery.SourceFileLoader):
    """Loads a module from other text than that of its file."""

    def __init__(self, name: str, path: str, source: bytes) -> None:
        super().__init__(name, path)
        self.changed = source

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.changed, self.path, "exec", dont_inherit=True)


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, name: str, path: str, source: bytes) -> None:
        self.name, self.path, self.source = name, path, source

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> object:
        if fullname != self.name:
            return None
        loader = _Mutated(fullname, self.path, self.source)
        return importlib.util.spec_from_file_location(fullname, self.path, loader=loader)


def start(root: Path, path: str, source: bytes, tests: Sequence[str], limit: float) -> int:
    """Forks a trial.

    Arguments:
        root: Root of the repository.
        path: The file, relative to it.
        source: What the file is taken to hold.
        tests: Test files, relative to the root, run one after the other up to the first that fails.
        limit: Seconds after which the child is ended.

    Returns:
        The child's process id, for :func:`wait`.
    """
    child = os.fork()
    if not child:
        _run(root, path, source, tests, limit)
    return child


def wait() -> tuple[int, Verdict]:
    """The next trial to end, by its process id.

    Raises:
        RuntimeError: Tests did not run at all: neither passed nor failed.
    """
    child, status, used = os.wait3(0)
    seconds = used.ru_utime + used.ru_stime
    if os.WIFSIGNALED(status):
        how = "time limit" if os.WTERMSIG(status) == signal.SIGALRM else f"signal {os.WTERMSIG(status)}"
        return child, Verdict(True, how, seconds)
    code = os.WEXITSTATUS(status)
    if 0 < code < FAILED:
        raise RuntimeError(f"pytest could not run the tests (exit code {code})")
    return child, Verdict(True, "failed", seconds, code - FAILED) if code else Verdict(False, "passed", seconds)


def _run(root: Path, path: str, source: bytes, tests: Sequence[str], limit: float) -> NoReturn:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(max(1, round(limit)))
    os.chdir(root)
    sys.path[:0] = [str(root), str(root / "plugins")]
    name = path.removeprefix("plugins/").removesuffix(".py").replace("/", ".")
    sys.meta_path.insert(0, _Finder(name, str(root / path), source))
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    import pytest

    for place, file in enumerate(tests):
        try:
            code = int(pytest.main([*QUICK, file]))
        except BaseException:
            code = pytest.ExitCode.TESTS_FAILED
        if code:
            os._exit(FAILED + place if code in NOTICED else code)
    os._exit(0)
