"""What ``chainkit inpaint`` does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from chainkit.cli.progress import TerminalReporter
from chainkit.host import Host
from chainkit.interrupt import handling_signals
from chainkit.opening import open_run
from chainkit.packages import imported
from chainkit.random import seeded
from chainkit.run import Run

if TYPE_CHECKING:
    from chainkit_figures.inpainting import Completions


@attrs.frozen(kw_only=True)
class Asked:
    """What ``chainkit inpaint`` was asked for, None where the recipe or the process decides.

    Arguments:
        known: Which half, or the file of a mask.
        count: How many examples.
        completions: How many for each of them.
        split: Where they are from.
        steps: Number of sampling steps.
        hold: How known pixels are held.
        means: Whether to show the means of the last step.
        seed: Seed of the choice and of all draws.
    """

    known: str
    count: int
    completions: int
    split: str | None = None
    steps: int | None = None
    hold: Any = None
    means: bool = False
    seed: int = 0


def inpaint(host: Host, path: Path, asked: Asked, device: str | None) -> None:
    """``chainkit inpaint``.

    Arguments:
        host: The loaded plugins.
        path: The run directory.
        asked: What to complete, and how.
        device: Where to compute; as the recipe says if None.
    """
    imported("matplotlib.figure", "pip install matplotlib")
    with handling_signals():
        run = open_run(path, host=host, reporter=TerminalReporter(), device=device)
        with run.directory.locked():
            file = draw(run, asked)
    run.say(f"completions in {file}")


def draw(run: Run, asked: Asked) -> Path:
    """Completes examples of a run's data and writes the picture.

    Arguments:
        run: The run.
        asked: What to complete, and how.

    Returns:
        The picture's file.

    Raises:
        RecipeError: The chain, the process or the data does not allow what is asked.
        DataError: There is no such split, or the mask cannot be used.
    """
    from chainkit_figures.draw import data_range
    from chainkit_figures.inpainting import drawn_completions

    split, found = completed(run, asked)
    run.say(f"{len(found.origin)} {split} examples, {asked.known} known, {asked.completions} each: {found.words}")
    file = run.path / "pictures" / f"inpaint-{Path(asked.known).stem}{'-means' * asked.means}.png"
    file.parent.mkdir(exist_ok=True)
    drawn_completions(found, *data_range(run.data)).save(file)
    return file


def completed(run: Run, asked: Asked) -> tuple[str, Completions]:
    """Completes examples of a run's data; arguments and errors are those of :func:`draw`.

    Returns:
        The split that the examples are from, and their completions.
    """
    from chainkit_figures.inpainting import complete
    from chainkit_figures.known import known_mask

    run.check_steps(asked.steps, "--steps")
    mask = known_mask(asked.known, run.data.shape).to(run.device)
    examples = run.data.examples(asked.split or run.recipe.evaluate.split, asked.count, seed=asked.seed, device=run.device)
    found = complete(
        run.chain,
        run.process,
        next(examples.batches(asked.count)),
        mask,
        completions=asked.completions,
        steps=asked.steps or run.recipe.sample.steps,
        hold=asked.hold,
        means=asked.means,
        source=seeded(run.device, asked.seed, "inpainting"),
    )
    return examples.split, found
