"""Which files are mutated, and the tests that should notice.

Every plugin in ``plugins/`` is taken, with the tests that are named after it: a new one is picked up
by its name alone. Not taken are the files that hold no formula, and the plugins that only read files,
draw pictures or write logs.
"""

from __future__ import annotations

import itertools
from pathlib import Path

SILENT_PLUGINS = frozenset({"chainkit_figures", "chainkit_images", "chainkit_report", "chainkit_tensorboard"})
SILENT_FILES = frozenset({"__init__.py", "capabilities.py", "drawing.py", "hooks.py", "jobs.py", "plan.py", "work.py"})

CORE = {
    "chainkit/chain.py": ["tests/core/test_chain.py"],
    "chainkit/estimator.py": [
        "tests/docs/test_names.py::test_worked_examples_of_bits_per_dimension",
        "tests/statistics/test_estimators_log_weight.py",
    ],
    "chainkit/extension.py": ["tests/core/test_extension.py", "tests/core/test_chain.py"],
    "chainkit/kernel.py": ["tests/core/test_distributions.py"],
    "chainkit/log_weight.py": ["tests/core/test_log_weight.py"],
    "chainkit/objective.py": ["tests/plugins/test_infusion_objectives.py"],
    "chainkit/schedule.py": ["tests/plugins/test_walkback_schedules.py"],
    "chainkit/transition.py": [
        "tests/core/test_log_weight.py",
        "tests/statistics/test_estimators_log_weight.py",
        "tests/plugins/test_walkback_exact.py",
    ],
}
"""Files of the core with formulas, beside all of ``chainkit/distributions``."""

WALKS, GRADIENTS = "tests/statistics/test_oracles_walks.py", "tests/statistics/test_oracles_gradients.py"

ORACLES = {name: [WALKS, GRADIENTS] for name in ("diffusion", "infusion", "walkback")}
"""Plugins of chains, which are compared with exact answers."""


def targets(root: Path) -> dict[str, list[str]]:
    """The files to mutate, each with its tests, the most telling ones first.

    Arguments:
        root: Root of the repository.
    """
    found = {path: [*tests, WALKS, GRADIENTS] for path, tests in CORE.items()}
    for path in sorted((root / "chainkit" / "distributions").glob("*.py")):
        found[_relative(path, root)] = ["tests/core/test_distributions.py", WALKS, GRADIENTS, "tests/plugins/test_infusion_process.py"]
    for path in sorted((root / "plugins").glob("*/*.py")):
        if path.parent.name not in SILENT_PLUGINS:
            name = path.parent.name.removeprefix("chainkit_")
            own = [f"tests/plugins/test_{name}*.py", f"tests/statistics/test_{name}*.py"]
            found[_relative(path, root)] = [f"tests/plugins/test_{name}_{path.stem}*.py", *ORACLES.get(name, []), *own]
    kept = {path: tests for path, tests in found.items() if Path(path).name not in SILENT_FILES and not path.endswith("configs.py")}
    return {path: _files(root, tests) for path, tests in kept.items()}


def _files(root: Path, patterns: list[str]) -> list[str]:
    """The files of some patterns; a single test, ``file::test``, stands for itself."""
    files = [[pattern] if "::" in pattern else [_relative(path, root) for path in sorted(root.glob(pattern))] for pattern in patterns]
    return list(dict.fromkeys(itertools.chain(*files)))


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()
