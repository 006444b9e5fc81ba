"""The studies. A new one is added to the list; whatever runs, records and shows them takes it from there."""

from __future__ import annotations

from damage import damage
from data_files import TROUBLES, data
from endurance import endurance
from faults import faults
from full_disk import full_disk
from fuzz_recipes import recipes
from fuzz_typos import typos
from hostile_files import hostile_recipes, hostile_runs
from hostile_recipes import RECIPES
from hostile_runs import RUNS
from kills import kills
from machines import MACHINES, machines
from nonfinite import nonfinite
from races import races
from ranks import rank_kills
from replacing import replacing
from resumes import resumes
from stops import hangups, insisting, starting, stops
from study import Study
from tiny_recipes import METHODS
from torchrun import torchrun_kills

EVERY = tuple(METHODS)

STUDIES = [
    Study(
        name="kills",
        title="kill -9 at a random moment, half of them aimed at a step of a slowed save; then resumed",
        unit="kills",
        run=kills,
        methods=EVERY,
        brief=2,
        short=6,
        long=200,
    ),
    Study(
        name="rank-kills",
        title="two processes (gloo): kill -9 of the first, the second or both, half aimed at a step of a slowed save; then resumed",
        unit="kills",
        run=rank_kills,
        methods=EVERY,
        brief=0,
        short=3,
        long=40,
    ),
    Study(
        name="torchrun-kills",
        title="the same under torchrun itself, or of all and torchrun; half aimed at a slowed save",
        unit="kills",
        run=torchrun_kills,
        methods=("walkback",),
        brief=0,
        short=2,
        long=20,
    ),
    Study(
        name="replacing",
        title="kill -9 while the only checkpoint is replaced by one of the same update; it must go on from there",
        unit="kills",
        run=replacing,
        methods=EVERY,
        brief=2,
        short=3,
        long=40,
    ),
    Study(
        name="resumes",
        title="one run stopped five times by signals and once by kill -9, within epochs and at their ends",
        unit="runs",
        run=resumes,
        methods=EVERY,
        brief=1,
        short=1,
        long=10,
    ),
    Study(
        name="damage",
        title="a truncated file or a single flipped bit (4 for each truncation) in the newest checkpoint",
        unit="damages",
        run=damage,
        methods=EVERY,
        brief=50,
        short=250,
        long=2500,
    ),
    Study(
        name="faults",
        title="no space, no permission or an I/O error at one write, sync, rename or new folder",
        unit="errors",
        run=faults,
        methods=EVERY,
        brief=3,
        short=6,
        long=100,
    ),
    Study(
        name="full-disk",
        title="a really full disk: a tmpfs that is too small",
        unit="disks",
        run=full_disk,
        methods=EVERY,
        brief=2,
        short=2,
        long=20,
    ),
    Study(
        name="stops",
        title="SIGTERM or SIGINT at start-up, in the first batch, while training, evaluating, sampling, saving",
        unit="signals",
        run=stops,
        methods=EVERY,
        brief=3,
        short=6,
        long=102,
    ),
    Study(
        name="hangups",
        title="SIGHUP, once or twice, in the same phases: it never insists",
        unit="signals",
        run=hangups,
        methods=EVERY,
        brief=1,
        short=2,
        long=24,
    ),
    Study(
        name="insisting",
        title="two SIGINT at once, in the same phases",
        unit="runs",
        run=insisting,
        methods=EVERY,
        brief=1,
        short=2,
        long=25,
    ),
    Study(
        name="starting",
        title="SIGTERM or SIGINT 0.3 to 3 s after a new process was started",
        unit="processes",
        run=starting,
        methods=("walkback",),
        brief=1,
        short=2,
        long=200,
    ),
    Study(
        name="races",
        title="8 processes race for one run directory; half of the winners are killed, and the run is taken up at once",
        unit="races",
        run=races,
        methods=("walkback",),
        brief=4,
        short=8,
        long=50,
    ),
    Study(
        name="endurance",
        title="training, validation, samples, pictures and saves in a loop: memory within 2 %, no more open files",
        unit="runs",
        run=endurance,
        methods=("walkback",),
        brief=0,
        short=0,
        long=7200,
    ),
    Study(
        name="machines",
        title="machines that lack something",
        unit="machines",
        run=machines,
        methods=("walkback",),
        brief=1,
        short=3,
        long=len(MACHINES),
    ),
    Study(
        name="nonfinite",
        title="NaN or infinity in data, a layer, a gradient or a parameter: left with 5, its place named, no checkpoint spoilt, resumed",
        unit="runs",
        run=nonfinite,
        methods=EVERY,
        brief=4,
        short=4,
        long=40,
    ),
    Study(
        name="recipes",
        title="spoilt recipes: exit code 0 or 2, no traceback, no control character printed; what is accepted reads back as itself",
        unit="recipes",
        run=recipes,
        brief=300,
        short=2000,
        long=10_000,
    ),
    Study(
        name="typos",
        title="a key with one letter wrong: refused, and the right key suggested first in 95 %",
        unit="typos",
        run=typos,
        brief=2000,
        short=20_000,
        long=1_000_000,
    ),
    Study(
        name="hostile-runs",
        title="forged checkpoints, links and pipes in a run, under five commands: nothing run, read or written elsewhere",
        unit="runs",
        run=hostile_runs,
        brief=6,
        short=30,
        long=2 * len(RUNS),
    ),
    Study(
        name="hostile-recipes",
        title="recipes that name code, other folders, traps and escapes: nothing run or written elsewhere",
        unit="recipes",
        run=hostile_recipes,
        brief=8,
        short=20,
        long=len(RECIPES),
    ),
    Study(
        name="data",
        title="damaged, absent, empty and tiny data: one line that names file and index, or trained on",
        unit="kinds",
        run=data,
        brief=8,
        short=25,
        long=len(TROUBLES),
    ),
]
"""A size of 0 leaves a study out."""
