"""What all tests share: toy components of every kind that a recipe needs, packages that look installed, the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

# Tests compute little at a time: a second thread mostly waits, and on a busy machine for long. Before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import attrs
import pytest

import chainkit
from chainkit.capabilities import BinaryStates, Density, NoiseLevel, RealStates, Respaceable
from chainkit.component import Component, NetworkPart, SchedulePart, choose
from chainkit.config import above, at_least
from chainkit.estimator import Estimate
from chainkit.evaluation import to_json
from chainkit.host import Host

ROOT = Path(__file__).parents[1]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Layers that a test makes draw their weights from torch's own generator: the same ones, whichever tests ran before in this process."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(zlib.crc32(item.path.name.encode()))


@attrs.frozen(kw_only=True)
class Plain:
    """No settings."""


@attrs.frozen(kw_only=True)
class Layers:
    """Some layers.

    Arguments:
        hidden: Widths.
        activation: Between layers.
    """

    hidden: list[int] = attrs.field(factory=list, validator=at_least(1))
    activation: Literal["relu", "tanh"] = "relu"


@attrs.frozen(kw_only=True)
class Rate:
    """A rate.

    Arguments:
        value: Above 0.
    """

    value: float = attrs.field(default=1.0, validator=above(0))


@attrs.frozen(kw_only=True)
class Points:
    """Points.

    Arguments:
        binarize: Whether they become zeros and ones.
        n: How many.
        valid: How many of them are for validation.
    """

    binarize: Literal["none", "threshold"] = "none"
    n: int = attrs.field(default=10, validator=at_least(1))
    valid: int = attrs.field(default=0)

    @valid.validator
    def _fits(self, attribute: object, value: int) -> None:
        if value >= self.n:
            raise ValueError(f"must be below n = {self.n}")


@attrs.frozen(kw_only=True)
class Step(NoiseLevel):
    """A step that states its noise.

    Arguments:
        noise: Its variance.
        network: What computes it.
        rate: What multiplies it, if anything.
        window: Two integers.
        mode: A name, or a number.
    """

    noise: float = attrs.field(default=0.1, validator=above(0))
    network: NetworkPart = choose("layers", hidden=[4], activation="tanh")
    rate: SchedulePart | None = None
    window: tuple[int, int] = (1, 2)
    mode: Literal["auto"] | float = "auto"

    @property
    def noise_variance(self) -> float:
        return self.noise


@attrs.frozen(kw_only=True)
class Silent:
    """A step that states no noise level."""


@attrs.frozen(kw_only=True)
class Walks:
    """An estimator with walks."""

    walks: int = attrs.field(default=10, validator=at_least(1))


def unbuildable(config: object, context: object) -> None:
    raise AssertionError("a recipe is checked without building anything")


class Toys:
    """One or two components of every kind that a recipe needs."""

    chainkit_api = (1, 1)

    @chainkit.hookimpl
    def chainkit_datasets(self) -> list[Component]:
        def provides(config: Points) -> tuple[type, ...]:
            return (RealStates,) if config.binarize == "none" else (BinaryStates,)

        return [
            Component(name="points", config=Points, build=unbuildable, provides=provides),
            Component(name="mystery", config=Plain, build=unbuildable, provides=lambda config: None),
        ]

    @chainkit.hookimpl
    def chainkit_priors(self) -> list[Component]:
        return [Component(name="normal", config=Plain, build=unbuildable)]

    @chainkit.hookimpl
    def chainkit_processes(self) -> list[Component]:
        return [Component(name="walk", config=Plain, build=unbuildable)]

    @chainkit.hookimpl
    def chainkit_networks(self) -> list[Component]:
        return [
            Component(name="layers", config=Layers, build=unbuildable),
            Component(name="bits-only", config=Plain, build=unbuildable, needs={"dataset": (BinaryStates,)}),
        ]

    @chainkit.hookimpl
    def chainkit_schedules(self) -> list[Component]:
        return [Component(name="constant", config=Rate, build=unbuildable)]

    @chainkit.hookimpl
    def chainkit_operators(self) -> list[Component]:
        return [
            Component(name="step", config=Step, build=unbuildable, provides=(Density, Respaceable)),
            Component(name="silent", config=Silent, build=unbuildable),
            Component(name="bits", config=Silent, build=unbuildable, needs={"dataset": (BinaryStates,)}),
        ]

    @chainkit.hookimpl
    def chainkit_objectives(self) -> list[Component]:
        return [
            Component(name="fit", config=Plain, build=unbuildable),
            Component(name="fit-density", config=Plain, build=unbuildable, needs={"operator": (Density,)}),
        ]

    @chainkit.hookimpl
    def chainkit_estimators(self) -> list[Component]:
        return [Component(name="bound", config=Walks, build=unbuildable)]

    @chainkit.hookimpl
    def chainkit_optimizers(self) -> list[Component]:
        return [Component(name="descent", config=Rate, build=unbuildable)]


@pytest.fixture
def toys() -> Host:
    """A host with the toy components and nothing else."""
    host = Host(strict=True)
    host.add(Toys(), "toys", distribution="chainkit-toys", version="0.3")
    return host


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder that stands on the path of :func:`command`."""
    folder = tmp_path / "site"
    folder.mkdir()
    return folder


Install = Callable[..., None]


@pytest.fixture(scope="session")
def distribute() -> Install:
    """Writes a distribution into a folder, as an installer would leave it: one module, one entry point or a text of its own."""

    def write(
        folder: Path, distribution: str, source: str, *, plugin: str = "", module: str = "", version: str = "1.2", entries: str = ""
    ) -> None:
        module = module or distribution.replace("-", "_")
        (folder / f"{module}.py").write_text(source)
        info = folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[chainkit]\n{entries or f'{plugin or distribution} = {module}'}\n")

    return write


@pytest.fixture
def install(site: Path, distribute: Install) -> Install:
    """Writes a distribution into ``site``."""
    return partial(distribute, site)


KEPT = """
title = "Kept"
[data]
type = "digits"
scale = 17
[chain]
steps = 3
[chain.operator]
type = "infusion-gaussian"
[process]
type = "infusion"
[objective]
type = "denoising"
"""


@pytest.fixture
def kept(tmp_path: Path) -> Callable[..., Path]:
    """Writes a run directory by hand, with the figures and files that it is given; as the recipe is, so are the settings."""

    def write(name: str, *estimates: Estimate, recipe: str = KEPT, environment: dict[str, Any] | None = None, **files: str) -> Path:
        folder = tmp_path / name
        (folder / "final").mkdir(parents=True)
        figures = [to_json(estimate, "weights of update 60") for estimate in estimates]
        texts = {
            "recipe.toml": recipe,
            "resolved.toml": recipe,
            "environment.json": json.dumps(environment or {"chainkit": "0.1.0", "torch": "2.10.0"}),
            "evaluation.json": json.dumps(figures),
            "final/state.json": json.dumps({"weights": "weights of update 60", "update": 60, "epoch": 2}),
        }
        for file, text in {**texts, **files}.items():
            (folder / file).write_text(text, encoding="utf-8")
        return folder

    return write


@pytest.fixture
def estimate() -> Callable[..., Estimate]:
    """Makes a lower bound on 100 test examples, or what the keywords say."""

    def make(value: float, error: float | None = 1.0, **fields: Any) -> Estimate:
        settings: dict[str, Any] = {
            "name": "lower bound",
            "meaning": "lower bound on log p(x)",
            "error_examples": error,
            "examples": 100,
            "walks": 10,
            "split": "test",
            "preparation": "scaled by 1/17, uniform noise of width 1/17",
            "dim": 64,
            "bin_width": 1 / 17,
        }
        return Estimate(value=value, **{**settings, **fields})

    return make


@pytest.fixture
def link(site: Path) -> Callable[[Path], None]:
    """Makes the project in a folder look installed as its pyproject.toml says, without copying it."""

    def look_installed(folder: Path) -> None:
        project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        package = project["name"].replace("-", "_")
        (site / package).symlink_to(folder / package)
        info = site / f"{package}-{project['version']}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
        entries = [f"{name} = {module}" for name, module in project["entry-points"]["chainkit"].items()]
        (info / "entry_points.txt").write_text("\n".join(["[chainkit]", *entries]))

    return look_installed


Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def command(site: Path) -> Command:
    """Runs the command line in a process of its own that sees the packages in ``site``."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("CHAINKIT_")}
        paths = [str(site), str(ROOT), str(ROOT / "plugins"), *filter(None, [os.environ.get("PYTHONPATH")])]
        return subprocess.run(
            [sys.executable, "-m", "chainkit", *arguments],
            capture_output=True,
            text=True,
            cwd=site,
            env={**inherited, "PYTHONPATH": os.pathsep.join(paths), **environment},
            check=False,
        )

    return run
