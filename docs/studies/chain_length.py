"""Quality against chain length: three methods, one network, equal numbers of network evaluations.

The walkback paper claims that far fewer steps suffice than a diffusion needs. Here the three
methods, with Gaussian operators on the same network, learn the same real-valued digits, the small
ones or MNIST's, with chains of 2 to 32 steps. Every training may evaluate the network on the same
number of states in all, so that longer chains are trained on fewer examples; a sample takes as many
evaluations as its chain has steps, and a second time SAMPLING evaluations, where the method can take
more steps than it was trained with.

``python docs/studies/chain_length.py [--data mnist] [--folder FOLDER] [--jobs N]`` makes one ordinary run for each
method, length and training seed, in FOLDER; what is there already is not made again, so that it can be
stopped at any time. It then writes the record of that data in ``docs/records/studies``, and
``docs/chain_length.md`` from the records of both.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs

HERE = Path(__file__).parent
RECORDS, PAGE = HERE.parent / "records" / "studies", HERE.parent / "chain_length.md"
METHODS = ("walkback", "infusion", "diffusion")
LENGTHS = (2, 4, 8, 16, 32)
SEEDS = (0, 1, 2)
BATCH = 128
SAMPLING = 32
NOT_FINITE = 5
"""Exit code of a run whose samples are no finite numbers."""


@attrs.frozen(kw_only=True)
class Task:
    """Data to learn.

    Arguments:
        title: What it is.
        budget: States on which a training evaluates the network.
        hidden: Units of each of the network's two layers.
        hottest: Walkback's highest temperature: sigma_data^2 / sigma^2 along the first principal direction of the data.
        settings: What else differs from the recipes beside this file, in TOML.
        rates: Learning rates that do, by method.
    """

    title: str
    budget: int
    hidden: int
    hottest: float
    settings: dict[str, str] = attrs.field(factory=dict)
    rates: dict[str, float] = attrs.field(factory=dict)


TASKS = {
    "digits": Task(title="The small digits", budget=2_000_000, hidden=256, hottest=15.5),
    "mnist": Task(
        title="MNIST",
        budget=2_000_000,
        hidden=512,
        hottest=128.0,
        settings={
            "data": '{type = "mnist", scale = 256, dequantize = true, valid = 10000}',
            "train.precision": '"bfloat16"',
        },
        rates={"diffusion": 3e-4},
    ),
}

TEXT = """# Quality against chain length

Written by `docs/studies/chain_length.py` from finished runs, never by hand. Fréchet distance between
10 000 samples and the held-out examples on the features of one small classifier, lower is better, and the
share of samples that are nearer to a training example than that is to any other. Mean over training seeds ±
the standard error over them. A network of two layers of ReLU that is told the step, the same for all methods.
Where nothing stands, the method cannot take as many steps, its samples were not finite numbers, or the run is
still to be made.

"""

PART = """## {title}

At most {budget} network evaluations (states) in every training, training seeds: {seeds}, {hidden} units a layer. The
estimator's own error for one model is about {error}; as much training data stands {floor} from the held-out examples, and
of those the share {copies} counts as copies.

"""

READING = """## As read in November 2026

The walkback paper's claim, that far fewer steps suffice than a diffusion needs, holds on neither. On the small digits the
diffusion stands nearer at every length, on MNIST at every length too. Infusion is the one that lives from few steps: the
nearest with 8 on both, and with 4 and 16 on MNIST, where only it draws readable digits. Longer walks of infusion and walkback
do worse because they saw fewer examples: every state of a walk costs an evaluation, where a diffusion learns from one state of
each example, and gains with every doubling. No chain copies as often as held-out digits do.

Details decide more than the method. Walkback's walks are heated up to the variance of the data along its first principal
direction here, at every length (eq. 4 with that variance), by its own objective; with the paper's ratio of sqrt(2) throughout
and the gradient of the bound, 16 steps stood 7.9 away on the small digits instead of 1.4, and 32 did not come back from noise at
all. Of the two changes the objective alone gave 2.6 for 3.5 with 8 steps, one training each.

The diffusion's kernel is put together from a predicted data point, around what independent Gaussian elements would give
(`data-prediction`). Around the forward kernel, every step learned, it stood 2.1, 1.9, 1.1, 0.76 and 0.70 away on the small digits,
better with 2 steps and worse with more, and 105, 108 and 124 on MNIST with up to 8; with the forward kernel itself for the last step,
as in the paper, which leaves that kernel's noise on every sample, 30, 11, 3.5, 1.4 and 0.83 on the digits. With 8 steps on the
digits its bound is 71 nats, around the forward kernel 38, one training each.

On MNIST 2 million evaluations are little, 1 to 40 passes over the data. Walkback and the diffusion draw strokes under noise at
every length, the diffusion less with more steps. In walkback half of every state is the one before it (alpha = 0.5 in eq. 12),
whose noise the network has to take away, which may be why. With 8 steps, one training each: layers of 1024 units and twice the
evaluations gave 77, or 71 with the ratio of sqrt(2); with alpha = 1 its walks forget the example at the first step, and it learns
the mean image (131).
"""


@attrs.frozen(kw_only=True)
class Point:
    """One training.

    Arguments:
        method: Name of a recipe beside this file.
        steps: K.
        seed: Training seed.
    """

    method: str
    steps: int
    seed: int

    @property
    def name(self) -> str:
        """Name of its run directory."""
        return f"{self.method}_{self.steps}_{self.seed}"

    def updates(self, budget: int) -> int:
        """Updates that evaluate the network on so many states: K + 1, K or 1 for each example of a batch.

        Arguments:
            budget: States in all.
        """
        per_example = {"walkback": self.steps + 1, "infusion": self.steps, "diffusion": 1}[self.method]
        return max(1, budget // (BATCH * per_example))

    def settings(self, task: Task) -> dict[str, Any]:
        """What this training sets in its recipe, in TOML."""
        parts = (", ".join(f"{key} = {json.dumps(value)}" for key, value in part.items()) for part in self.estimators())
        found = {
            **task.settings,
            "seed": self.seed,
            "chain.steps": self.steps,
            "chain.operator.network.hidden": [task.hidden, task.hidden],
            "train.batch_size": BATCH,
            "train.max_updates": self.updates(task.budget),
            "evaluate.estimators": f"[{', '.join(f'{{{part}}}' for part in parts)}]",
        }
        if self.method in task.rates:
            found["train.optimizer.lr"] = task.rates[self.method]
        if self.method == "walkback":
            found["chain.temperature.ratio"] = task.hottest ** (1 / (self.steps - 1))
        return found

    def estimators(self) -> list[dict[str, Any]]:
        """What is estimated at the end."""
        longer = self.method != "diffusion" and self.steps < SAMPLING  # a diffusion can be sampled with fewer steps, not with more
        frechet = {"type": "frechet", "samples": 10_000}
        return [frechet, {"type": "copying", "samples": 2_000}, *([{**frechet, "steps": SAMPLING}] if longer else [])]

    def command(self, task: Task, folder: Path) -> list[str]:
        """The command that makes, or goes on with, its run."""
        chainkit, path = str(Path(sys.executable).parent / "chainkit"), folder / self.name
        if (path / "resolved.toml").exists():
            return [chainkit, "resume", str(path)]
        given = [part for key, value in self.settings(task).items() for part in ("--set", f"{key}={value}")]
        return [chainkit, "run", str(HERE / "chain_length" / f"{self.method}.toml"), "--out", str(path), *given]


def points() -> Iterator[Point]:
    """All trainings, one seed after the other."""
    for seed in SEEDS:
        for steps in LENGTHS:
            for method in METHODS:
                yield Point(method=method, steps=steps, seed=seed)


def found(point: Point, folder: Path) -> dict[str, Any] | None:
    """The figures of a point; None where its first two are not there."""
    path = folder / point.name / "evaluation.json"
    figures = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    if len(figures) < 2:
        return None
    environment = json.loads((folder / point.name / "environment.json").read_text(encoding="utf-8"))
    return {**attrs.asdict(point), "figures": figures, "versions": {key: environment[key] for key in ("chainkit", "torch", "python")}}


def make(point: Point, task: Task, folder: Path) -> None:
    """Makes, or goes on with, the run of a point.

    Raises:
        CalledProcessError: It fails, otherwise than by samples that are no finite numbers.
    """
    there = found(point, folder)
    if there is None or len(there["figures"]) < len(point.estimators()):
        done = subprocess.run(point.command(task, folder))
        if done.returncode != NOT_FINITE:
            done.check_returncode()


def summary(records: list[dict[str, Any]], method: str, steps: int, place: int) -> str:
    """Mean and standard error over seeds of one figure, as text."""
    values = [
        record["figures"][place]["value"]
        for record in records
        if (record["method"], record["steps"]) == (method, steps) and place < len(record["figures"])
    ]
    if not values:
        return "-"
    if len(values) == 1:
        return f"{values[0]:.3g}"
    return f"{statistics.mean(values):.3g} ± {statistics.stdev(values) / len(values) ** 0.5:.2g}"


def part(task: Task, records: list[dict[str, Any]]) -> str:
    """The figures of one task, as text."""
    frechet, copies = records[0]["figures"][:2]
    text = PART.format(
        title=task.title,
        budget=f"{task.budget:,}".replace(",", " "),
        seeds=len({record["seed"] for record in records}),
        hidden=task.hidden,
        error=f"{statistics.median(record['figures'][0]['error_examples'] for record in records):.2g}",
        floor=f"{frechet['beside']['training data']:.3g}",
        copies=f"{copies['beside']['held-out data']:.3g}",
    )
    for place, title in enumerate(("Fréchet distance, K steps in sampling", "Copies", f"Fréchet distance, {SAMPLING} steps in sampling")):
        text += f"### {title}\n\n| steps in training | {' | '.join(METHODS)} |\n|---|{'---|' * len(METHODS)}\n"
        for steps in LENGTHS:
            text += f"| {steps} | {' | '.join(summary(records, method, steps, place) for method in METHODS)} |\n"
        text += "\n"
    return text


def page() -> str:
    """The page of all records."""
    paths = {name: RECORDS / f"chain_length_{name}.json" for name in TASKS}
    parts = (part(TASKS[name], json.loads(path.read_text(encoding="utf-8"))) for name, path in paths.items() if path.exists())
    return TEXT + "".join(parts) + READING


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=TASKS, default="digits", help="what is learned")
    parser.add_argument("--folder", type=Path, help="where the runs are made; runs/chain_length_DATA if not given")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    chosen = parser.parse_args()
    task, folder = TASKS[chosen.data], chosen.folder or Path(f"runs/chain_length_{chosen.data}")

    with ThreadPoolExecutor(chosen.jobs) as pool:
        for _ in pool.map(lambda point: make(point, task, folder), points()):
            records = [record for one in points() if (record := found(one, folder)) is not None]
            RECORDS.mkdir(exist_ok=True)
            (RECORDS / f"chain_length_{chosen.data}.json").write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")
            PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
