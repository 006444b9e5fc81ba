"""The mutation test: does some test notice each small mistake in a formula?

``python tests/mutation/run.py`` tries every mutant of every target and may be stopped and started
again: verdicts are kept in ``runs/mutation.jsonl``, and a mutant is tried again only once its file
has changed, or with ``--again`` if it survived; ``--survivors`` tries nothing but what survived for no
reason that is known, as one does after writing tests. ``--sample 60`` tries that many, drawn with a fixed
seed. ``--record`` writes what is known into ``docs/records/mutation``.

The exit code is 1 if fewer than 95 % are killed, those aside whose survival ``survivors.toml`` explains.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import re
import sys
from collections import Counter
from pathlib import Path

import attrs
from mutants import Mutant, mutants
from record import reasons, write_record
from targets import targets
from trial import Verdict, prepare, start, wait

ROOT = Path(__file__).parents[2]
LIMIT = 300.0


@attrs.frozen
class Try:
    """A mutant, the text of its file, and the tests that should notice it."""

    mutant: Mutant
    source: bytes
    tests: list[str]

    @property
    def identity(self) -> str:
        """Changes with the mutant and with the text of its file."""
        return hashlib.blake2b(self.mutant.key.encode() + self.source, digest_size=8).hexdigest()


def tries(only: str) -> list[Try]:
    """Everything that can be tried.

    Arguments:
        only: A regular expression that is found in the paths wanted.
    """
    found = []
    for path, tests in targets(ROOT).items():
        if re.search(only, path):
            source = (ROOT / path).read_bytes()
            found += [Try(mutant, source, tests) for mutant in mutants(ROOT, path)]
    return found


def known(path: Path) -> dict[str, dict[str, object]]:
    """The verdicts that are kept, by identity; the last one counts."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return {verdict["identity"]: verdict for verdict in map(json.loads, lines)}


def with_sound_tests(chosen: list[Try]) -> list[Try]:
    """The same with the test files that pass as long as nothing is changed: no other one says anything about a change.

    Raises:
        SystemExit: Nothing is left to notice a mutant with.
    """
    if not chosen:
        return []
    first, sound = chosen[0], set()
    for file in sorted({file for trial in chosen for file in trial.tests}):
        start(ROOT, first.mutant.path, first.source, [file], LIMIT)
        verdict = wait()[1]
        if verdict.killed:
            print(f"left out: {file}, which does not pass as it is ({verdict.how})", flush=True)
        else:
            sound.add(file)
    kept = [attrs.evolve(trial, tests=[file for file in trial.tests if file in sound]) for trial in chosen]
    if not all(trial.tests for trial in kept):
        raise SystemExit("some mutants have no test that passes without them")
    return kept


def carry_out(chosen: list[Try], workers: int, limit: float, results: Path) -> None:
    """Tries mutants, several at once, and appends their verdicts.

    Arguments:
        chosen: The mutants.
        workers: How many at once.
        limit: Seconds for each.
        results: Where verdicts are kept.
    """
    ahead, running = chosen[::-1], dict[int, Try]()
    kills: Counter[tuple[str, str]] = Counter()
    while ahead or running:
        while ahead and len(running) < workers:
            trial = ahead.pop()
            # What noticed other mutants of the file is asked first.
            trial = attrs.evolve(trial, tests=sorted(trial.tests, key=lambda file: -kills[trial.mutant.path, file]))
            running[start(ROOT, trial.mutant.path, trial.mutant.applied(trial.source), trial.tests, limit)] = trial
        child, verdict = wait()
        trial = running.pop(child)
        if verdict.place is not None:
            kills[trial.mutant.path, trial.tests[verdict.place]] += 1
        _keep(trial, verdict, results)


def _keep(trial: Try, verdict: Verdict, results: Path) -> None:
    results.parent.mkdir(exist_ok=True)
    by = None if verdict.place is None else trial.tests[verdict.place]
    line = {"identity": trial.identity, "by": by, **attrs.asdict(verdict), **attrs.asdict(trial.mutant), "key": trial.mutant.key}
    with results.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    if not verdict.killed:
        print(f"survived  {trial.mutant.path}:{trial.mutant.line}  {trial.mutant.before}  =>  {trial.mutant.after}", flush=True)


def main() -> int:
    """Reads the command line and does what it says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, help="try only so many, drawn at random")
    parser.add_argument("--seed", type=int, default=0, help="of that draw")
    parser.add_argument("--only", default="", help="a regular expression for the paths to mutate")
    parser.add_argument("--again", action="store_true", help="try survivors again")
    parser.add_argument("--survivors", action="store_true", help="try those again that survived without a reason, and nothing else")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds for one mutant")
    parser.add_argument("--results", type=Path, default=ROOT / "runs" / "mutation.jsonl")
    parser.add_argument("--trust", action="store_true", help="the tests have just passed: run one file alone without a mutant first")
    parser.add_argument("--record", action="store_true", help="write docs/records/mutation")
    asked = parser.parse_args()
    every = tries(asked.only)
    chosen = every if asked.sample is None else random.Random(asked.seed).sample(every, min(asked.sample, len(every)))
    before = known(asked.results)
    left = [t for t in chosen if t.identity not in before or (asked.again and not before[t.identity]["killed"])]
    if asked.survivors:
        why = reasons()
        left = [t for t in chosen if t.identity in before and not before[t.identity]["killed"] and t.mutant.key not in why]
    print(f"{len(every)} mutants, {len(left)} to try", flush=True)
    if left:
        prepare()
        trusted = [attrs.evolve(trial, tests=trial.tests[:1]) for trial in left[:1]] if asked.trust else left
        sound = with_sound_tests(trusted)
        carry_out(left if asked.trust else sound, asked.workers, asked.limit, asked.results)
    after = known(asked.results)
    verdicts = [after[t.identity] for t in chosen if t.identity in after]
    survivors = [verdict for verdict in verdicts if not verdict["killed"]]
    unexplained = [verdict for verdict in survivors if verdict["key"] not in reasons()]
    print(f"{len(verdicts) - len(survivors)} of {len(verdicts)} killed; {len(unexplained)} survivors without a reason")
    if asked.record:
        write_record(ROOT, verdicts, Counter(t.mutant.path for t in chosen if t.identity not in after))
    return 0 if len(unexplained) <= 0.05 * len(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
