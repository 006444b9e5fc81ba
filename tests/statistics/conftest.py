"""Cases for the comparisons with exact answers: whatever is registered and fits."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import attrs
import pytest
import torch

from chainkit.component import Part
from chainkit.data import Examples
from chainkit.estimator import Estimate
from chainkit.host import Host, load_plugins
from chainkit.journal import FileJournal
from chainkit.testing.oracles import Case, OracleParts, cases, part

VARIANCES = {"type": "variance-linear", "start": 0.25, "end": 0.6}
RATE = {"type": "increasing", "alpha0": 0.15, "omega": 0.25}

SETTINGS = {
    "process:diffusion-gaussian": {"schedule": VARIANCES},
    "process:diffusion-binomial": {"schedule": VARIANCES},
    "process:infusion": {"rate": RATE, "variance": 0.06},
    "process:infusion-binary": {"rate": RATE, "flip": 0.1},
    "operator:walkback-bernoulli": {"alpha": 0.4},
    "operator:walkback-gaussian": {"alpha": 0.4, "sigma0": 0.7, "sigma_min": 0.3},
    "operator:walkback-gaussian-printed": {"alpha": 0.4},
    "operator:infusion-gaussian": {"mean": "linear", "variance_scale": 0.8, "variance_floor": 0.1},
    "operator:infusion-isotropic": {"mean": "linear", "variance": 0.4},
    "operator:diffusion-gaussian": {"first_step": "learned"},
    "operator:diffusion-bernoulli": {"first_step": "learned"},
}
"""Settings under which a mistake of 1 % shows, and densities are wide enough for a line of 241 points."""

HOST = load_plugins()
HOST.add(OracleParts(), "oracles", distribution="tests")
CASES = list(cases(HOST, SETTINGS))
HOMES = {(entry.kind, entry.component.name): entry.plugin.name for entry in HOST.registry.entries()}
OBJECTIVES = [part(HOST, "objective", entry.component, SETTINGS) for entry in HOST.registry.entries("objective")]


def at_home(case: Case) -> bool:
    """Whether operator and process come from one plugin, or the operator is one of the oracles'."""
    return HOMES["operator", case.operator.name] in ("oracles", HOMES["process", case.process.name])


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "trained" in metafunc.fixturenames:
        fitting = [(objective, case) for objective, case in itertools.product(OBJECTIVES, filter(at_home, CASES)) if case.fits(objective)]
        metafunc.parametrize("trained", fitting, ids=lambda pair: f"{pair[0].name}-{pair[1].name}")
    elif "home_case" in metafunc.fixturenames:
        metafunc.parametrize("home_case", list(filter(at_home, CASES)), ids=lambda case: case.name)
    elif "case" in metafunc.fixturenames:
        metafunc.parametrize("case", CASES, ids=lambda case: case.name)


@pytest.fixture(scope="session")
def host() -> Host:
    """All plugins, and the oracles' own parts."""
    return HOST


@pytest.fixture(scope="session")
def every_case() -> list[Case]:
    """All cases."""
    return CASES


@pytest.fixture(scope="session")
def objectives() -> list[Part]:
    """All registered objectives, with the settings of their examples."""
    return OBJECTIVES


@pytest.fixture
def point():
    """One x, not on the line of states and not symmetric: [1, *event]."""

    def make(case: Case) -> torch.Tensor:
        return torch.tensor([[1.0, 0.0]] if case.support.states.shape[1] == 2 else [[0.37]], dtype=torch.float64)

    return make


@pytest.fixture
def two_steps():
    """The same case with K = 2, and with a wide target where it is infused: quadrature sees it well."""

    def make(case: Case, *, near: float) -> Case:
        process = case.process
        if process.name == "infusion":
            process = attrs.evolve(process, config=attrs.evolve(process.config, variance=near))
        return attrs.evolve(case, steps=2, process=process)

    return make


class Stopped(Exception):
    """Stands for a kill."""


class Counting(FileJournal):
    """Counts the pieces that are worked out, writes each at once, and stops before one of them."""

    def __init__(self, folder: Path, stop_at: int | None = None) -> None:
        super().__init__(folder)
        self.stop_at = stop_at
        self.count = 0

    def keep_each(self, pieces: Sequence[Callable[[], torch.Tensor]]) -> Iterator[torch.Tensor]:
        def counted(piece: Callable[[], torch.Tensor]) -> torch.Tensor:
            if self.count == self.stop_at:
                raise Stopped
            self.count += 1
            return piece()

        for piece in super().keep_each([partial(counted, piece) for piece in pieces]):
            self.write()
            yield piece


@pytest.fixture
def stopped_and_taken_up(tmp_path):
    """Works out a figure at once, and again after a stop in the middle: both, and the number of pieces."""

    def run(figure: Callable[[Examples], Estimate], examples: Examples) -> tuple[Estimate, Estimate, int]:
        journal = Counting(tmp_path / "whole")
        whole, pieces = figure(attrs.evolve(examples, journal=journal)), journal.count
        middle = pieces // 2
        with pytest.raises(Stopped):
            figure(attrs.evolve(examples, journal=Counting(tmp_path / "stopped", stop_at=middle)))
        journal = Counting(tmp_path / "stopped")
        resumed = figure(attrs.evolve(examples, journal=journal))
        assert journal.count == pieces - middle
        return whole, resumed, pieces

    return run
