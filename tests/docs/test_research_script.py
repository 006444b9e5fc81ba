"""The research script of the README: it runs, its figures are sane, and the README shows it as it is."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "docs" / "examples" / "research.py"
FIGURE = re.compile(r"(.+): (\S+) \+- (\S+) nats; factorial baseline (\S+)")


def test_research_script_prints_bound_and_importance_estimate_and_draws_digits() -> None:
    paths = [str(ROOT), str(ROOT / "plugins"), *filter(None, [os.environ.get("PYTHONPATH")])]
    result = subprocess.run(
        [sys.executable, str(SCRIPT)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        check=False,
    )
    assert result.returncode == 0, result.stderr
    *_, bound, importance = found = [match.groups() for match in FIGURE.finditer(result.stdout)]
    assert [name for name, *_ in found] == ["lower bound", "importance sampling"]
    assert all(math.isfinite(float(number)) for _, *numbers in found for number in numbers)
    assert float(importance[1]) >= float(bound[1])
    pictures = result.stdout.splitlines()[2:]
    assert len(pictures) == 8
    assert all(len(row) == 8 * 8 + 7 * 3 for row in pictures)


def test_readme_shows_the_research_script_as_it_is() -> None:
    assert f"```python\n{SCRIPT.read_text()}```\n" in (ROOT / "README.md").read_text()
