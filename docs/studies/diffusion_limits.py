"""What limits a fixed diffusion: the form of its reverse steps, or what was learned of them.

A reverse step of independent elements cannot be the true one, whose elements depend on each other.
The best of its form has the exact mean (and variance) of every element of s_{k-1} given s_k; for the
swiss roll and the heartbeat these are known. The bound with these steps is the *floor*: no network
exceeds it, and what a chain lacks to it is its network's or its training's. With s_k drawn from the data,

    optimum - bound = (optimum - floor) + (floor - bound),
    floor - bound   = sum_k E KL(best(s_{k-1} | s_k) || p(s_{k-1} | s_k)).

``python docs/studies/diffusion_limits.py RUN ..`` writes ``docs/records/studies/diffusion_limits.json``
and ``docs/diffusion_limits.md``, with a row for each run; what the record has of other runs stays, and
the floors of schedules unless ``--floors`` asks for them anew. All figures are in bits per example.
"""

from __future__ import annotations

import argparse
import json
import math
import tomllib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

import chainkit
from chainkit import Chain
from chainkit.distributions import Bernoulli, Gaussian, kl_divergence
from chainkit.random import integers, normal, seeded
from chainkit_datasets.plane import ROLL, roll_moments
from chainkit_datasets.smeared import along
from chainkit_diffusion import (
    BinomialDiffusion,
    CosineVariances,
    GaussianDiffusion,
    GeometricVariances,
    HarmonicVariances,
)
from chainkit_diffusion.process import FixedDiffusion

HERE = Path(__file__).parent
RECORD, PAGE = HERE.parent / "records" / "studies" / "diffusion_limits.json", HERE.parent / "diffusion_limits.md"
STEPS = {"swiss-roll": 40, "heartbeat": 2000}
NOISES = (0.3, 0.5, 1.0)
ROWS = 1000
FIRST = 200
PARTS = 5
BITS = 1 / math.log(2)

TEXT = """# What limits a fixed diffusion

Written by `docs/studies/diffusion_limits.py`, never by hand; bits per example. A reverse step draws the elements of
$s_{k-1}$ independently, given $s_k$. The best of that form has the exact mean, and for real data the exact variance, of
every element; they are known for both laws, so that the bound with these steps can be computed: the *floor*, which no
network exceeds. It depends on the schedule, and on whether $p(x \\mid s_1)$ is the forward kernel or learned.

"""

RUNS = """
## Runs

What a chain lacks to the best steps is $\\sum_k E\\, KL(best \\Vert p(s_{k-1} \\mid s_k))$, exact but for the draws of $s_k$;
the last columns have it by fifth of the steps, from data to noise.

"""


class Law(ABC):
    """A law of data, whose diffusion can be undone exactly, element by element."""

    @abstractmethod
    def draw(self, n: int, source: torch.Generator) -> Tensor:
        """x, float64 [n, D]."""

    @abstractmethod
    def prior(self, n: int) -> Gaussian | Bernoulli:
        """p*(s_K) of the paper, n rows."""

    @abstractmethod
    def log_density(self, x: Tensor) -> Tensor:
        """log p(x), [n], in nats."""

    @abstractmethod
    def best(self, process: Any, state: Tensor, k: int) -> Gaussian | Bernoulli:
        """The law of every element of s_{k-1} given s_k = state: its mean, and for real data its variance."""


class Roll(Law):
    """The standardised swiss roll: equally likely centres along a curve, and normal noise.

    Arguments:
        noise: Standard deviation of the noise before the roll is standardised.
    """

    def __init__(self, noise: float) -> None:
        def curve(u: Tensor) -> Tensor:
            t = ROLL[0] + (ROLL[1] - ROLL[0]) * u
            return torch.stack([t * t.cos(), t * t.sin()], dim=1)

        mean, scale = roll_moments(noise)
        self.centres = (along(curve, noise) - mean) / scale
        self.variance = (noise / scale).square()

    def draw(self, n: int, source: torch.Generator) -> Tensor:
        centres = self.centres[integers(0, len(self.centres) - 1, n, "cpu", source)]
        return centres + self.variance.sqrt() * normal(centres, source)

    def prior(self, n: int) -> Gaussian:
        return Gaussian(torch.zeros(n, 2, dtype=torch.float64), torch.ones((), dtype=torch.float64))

    def log_density(self, x: Tensor) -> Tensor:
        return torch.logsumexp(self._affinities(x, self.centres, self.variance), 1) - math.log(len(self.centres))

    def best(self, process: GaussianDiffusion, state: Tensor, k: int) -> Gaussian:
        """Moments of x given s_k, over the centres that s_k may be from, then those of s_{k-1}."""
        table = process.table(state.device)
        signal, noise = table.signal[k - 1], table.noise_variance[k - 1]
        total = signal.square() * self.variance + noise
        weights = self._affinities(state, signal * self.centres, total).softmax(1)
        gain = signal * self.variance / total
        from_centres = 1 - gain * signal
        middle = weights @ self.centres
        spread = (weights @ self.centres.square() - middle.square()).clamp(min=0)
        mean = gain * state + from_centres * middle
        variance = self.variance * noise / total + from_centres.square() * spread
        of_x, of_state = table.from_origin[k - 1], table.from_state[k - 1]
        return Gaussian(of_x * mean + of_state * state, of_x.square() * variance + table.posterior_variance[k - 1])

    def _affinities(self, points: Tensor, centres: Tensor, variance: Tensor) -> Tensor:
        """log N(point; centre, variance) of each pair, [n, m]."""
        scale = variance.sqrt()
        squares = torch.cdist(points / scale, centres / scale, compute_mode="donot_use_mm_for_euclid_dist").square()
        return -0.5 * (squares + (2 * math.pi * variance).log().sum())


class Beats(Law):
    """The heartbeat: sequences of 20 bins with ones in every fifth, five of them."""

    def __init__(self) -> None:
        self.sequences = (torch.arange(20) % 5 == torch.arange(5)[:, None]).double()

    def draw(self, n: int, source: torch.Generator) -> Tensor:
        return self.sequences[integers(0, 4, n, "cpu", source)]

    def prior(self, n: int) -> Bernoulli:
        return Bernoulli(torch.full((n, 20), math.log(0.25), dtype=torch.float64))

    def log_density(self, x: Tensor) -> Tensor:
        return torch.full((len(x),), -math.log(5), dtype=torch.float64)

    def best(self, process: BinomialDiffusion, state: Tensor, k: int) -> Bernoulli:
        """The rates given each sequence, weighted by how likely it is given s_k."""
        states, origins = state.repeat(len(self.sequences), 1), self.sequences.repeat_interleave(len(state), 0)
        weights = process.marginal(origins, k).log_prob(states).view(len(self.sequences), -1).softmax(0)
        given = origins if k == 1 else process.posterior(states, origins, k).mean
        rates = torch.einsum("jn,jnd->nd", weights, given.view(len(self.sequences), *state.shape))
        return Bernoulli(rates.clamp(1e-15, 1 - 1e-15).logit())


Step: TypeAlias = "tuple[int, Tensor, Tensor, Gaussian | Bernoulli]"


def walk(law: Law, process: FixedDiffusion[Any, Any], x: Tensor, seed: int) -> Iterator[Step]:
    """One walk from each example, from noise to data: k, s_k, s_{k-1}, and the best step from s_k."""
    source = seeded("cpu", seed, "walk")
    state = process.marginal(x, process.steps).sample(source)
    for k in range(process.steps, 0, -1):
        previous = process.posterior(state, x, k).sample(source) if k > 1 else x
        yield k, state, previous, law.best(process, state, k)
        state = previous


@torch.no_grad()
def floor(law: Law, process: FixedDiffusion[Any, Any], x: Tensor, *, first: str, seed: int = 0) -> Tensor:
    """log w of one walk from each example, where all reverse steps are the best of their form: [n], in nats.

    Where they are all but exact, log w is all but log p(x) on every walk: their difference has a small error.

    Arguments:
        law: The law of x.
        process: The diffusion.
        x: Examples of the law, [n, D].
        first: Whether p(x | s_1) is the best step too (``learned``), or the ``forward`` kernel.
        seed: Seed of the walks.
    """
    log_weight = torch.zeros(len(x), dtype=torch.float64)
    for k, state, previous, best in walk(law, process, x, seed):
        if k == process.steps:
            log_weight += law.prior(len(x)).log_prob(state) - process.marginal(x, k).log_prob(state)
        log_weight += best.log_prob(previous)
        if k > 1:
            log_weight -= process.posterior(state, x, k).log_prob(previous)
    return log_weight + forward_first(law, process, x, seed) if first == "forward" else log_weight


def forward_first(law: Law, process: FixedDiffusion[Any, Any], x: Tensor, seed: int) -> Tensor:
    """What the forward kernel as p(x | s_1) adds to log w, over the best step: [n], a mean of FIRST draws of s_1, of which few matter."""
    source, added = seeded("cpu", seed, "first"), torch.zeros(len(x), dtype=torch.float64)
    for _ in range(FIRST):
        state = process.marginal(x, 1).sample(source)
        added += process.step(state, 1).log_prob(x) - law.best(process, state, 1).log_prob(x)
    return added / FIRST


@torch.no_grad()
def shortfall(law: Law, process: FixedDiffusion[Any, Any], chain: Chain, x: Tensor, *, first: str, seed: int = 0) -> Tensor:
    """What the steps of a chain lack to the best ones, [K], in nats; 0 at k = 1 where that one is given.

    Arguments:
        law: The law of x.
        process: The diffusion that the chain was trained with.
        chain: The chain.
        x: Examples of the law, [n, D].
        first: Whether p(x | s_1) was ``learned``, or is the ``forward`` kernel.
        seed: Seed of the walks.
    """
    lacks = []
    for k, state, _, best in walk(law, process, x, seed):
        reverse = best if k == 1 and first == "forward" else chain.operator(state.float(), k).at()
        lacks.append(kl_divergence(best, reverse).mean())
    return torch.stack(lacks[::-1])


def floors(rows: int) -> list[dict[str, Any]]:
    """The floors of schedules: what is lost by the form of the steps alone."""
    steps = STEPS["swiss-roll"]
    schedules = {"cosine": CosineVariances(), "geometric": GeometricVariances(), "harmonic": HarmonicVariances(last=2)}
    found = [
        {"data": f"swiss roll, noise {noise}", "schedule": name, **limits(Roll(noise), GaussianDiffusion(schedule, steps), "forward", rows)}
        for noise in NOISES
        for name, schedule in schedules.items()
    ]
    harmonic = BinomialDiffusion(HarmonicVariances(), STEPS["heartbeat"], 0.2)
    return found + [
        {"data": "heartbeat", "schedule": "harmonic", **limits(Beats(), harmonic, first, rows)} for first in ("forward", "learned")
    ]


def limits(law: Law, process: FixedDiffusion[Any, Any], first: str, rows: int) -> dict[str, Any]:
    """Optimum and floor on the same examples, in bits, and the standard error of their difference."""
    x = law.draw(rows, seeded("cpu", 0, "limits"))
    optimum, bound = law.log_density(x) * BITS, floor(law, process, x, first=first) * BITS
    error = (optimum - bound).std().item() / rows**0.5
    return {"first_step": first, "optimum": optimum.mean().item(), "floor": bound.mean().item(), "error": error}


def of_run(path: Path, rows: int) -> dict[str, Any]:
    """The floor of a run's schedule, and what its steps lack to it.

    Arguments:
        path: Directory of a finished run of a diffusion on the swiss roll or the heartbeat.
        rows: Examples.
    """
    run, recipe = chainkit.open_run(path), tomllib.loads((path / "resolved.toml").read_text(encoding="utf-8"))
    law = Roll(recipe["data"]["noise"]) if recipe["data"]["type"] == "swiss-roll" else Beats()
    first = recipe["chain"]["operator"]["first_step"]
    lacks = shortfall(law, run.process, run.chain, law.draw(rows, seeded("cpu", 0, "limits")), first=first) * BITS
    by_part = [part.sum().item() for part in lacks.chunk(PARTS)]
    return {"run": path.name, **limits(law, run.process, first, rows), "shortfall": lacks.sum().item(), "parts": by_part}


def page(found: dict[str, Any]) -> str:
    """The page of the figures."""
    text = TEXT + "| data | schedule | last step | optimum | floor | lost by the form |\n|---|---|---|---|---|---|\n"
    for one in found["floors"]:
        lost = f"{one['optimum']:.3f} | {one['floor']:.3f} | {one['optimum'] - one['floor']:.3f} ± {one['error']:.3f}"
        text += f"| {one['data']} | {one['schedule']} | {one['first_step']} | {lost} |\n"
    text += RUNS + f"| run | optimum | floor | chain | lost by the form | lost by what was learned |{' |' * PARTS}\n"
    text += "|---|---|---|---|---|---|" + "---|" * PARTS + "\n"
    for one in found["runs"]:
        lost = one["optimum"] - one["floor"]
        figures = [one["optimum"], one["floor"], one["floor"] - one["shortfall"], lost, one["shortfall"], *one["parts"]]
        text += f"| {one['run']} | {' | '.join(f'{figure:.3f}' for figure in figures)} |\n"
    return text


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, help="finished runs")
    parser.add_argument("--rows", type=int, default=ROWS, help="examples")
    parser.add_argument("--floors", action="store_true", help="compute the floors of schedules anew")
    chosen = parser.parse_args()
    kept = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {"floors": [], "runs": []}
    again = {path.name for path in chosen.runs}
    runs = [one for one in kept["runs"] if one["run"] not in again] + [of_run(path, chosen.rows) for path in chosen.runs]
    found = {"floors": floors(chosen.rows) if chosen.floors or not kept["floors"] else kept["floors"], "runs": runs}
    RECORD.parent.mkdir(exist_ok=True)
    RECORD.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(found), encoding="utf-8")


if __name__ == "__main__":
    main()
