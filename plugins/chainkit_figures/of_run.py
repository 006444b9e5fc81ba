"""The pictures that need the chain itself: walks, ways back, ends of walks, drift; and nearest training examples."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from chainkit.chain import Samples
from chainkit.random import seeded
from chainkit.run import Run
from chainkit_figures.drift import drawn_drift
from chainkit_figures.ends import EXAMPLES, drawn_ends
from chainkit_figures.look import Look
from chainkit_figures.nearest import drawn_nearest
from chainkit_figures.picture import Picture
from chainkit_figures.reconstructions import drawn_reconstructions, returned
from chainkit_figures.training import training_curves
from chainkit_figures.training_walk import drawn_training, keep, kept
from chainkit_figures.walk import drawn_walk, last_states, on_the_cpu, walked


def run_pictures(run: Run, samples: Samples) -> dict[str, Picture]:
    """All of them by name, those that can be drawn.

    Arguments:
        run: The run, its training ended.
        samples: Samples of it.
    """
    look = Look.of(run.data)
    if look.kind == "nothing":
        return {}
    drawn = {
        **walk_and_return(run, look),
        "nearest": drawn_nearest(samples, run.data, look),
        "prior": prior_and_ends(run, look),
        "drift": drawn_drift(run.chain, run.data, look, run.device),
    }
    return {name: picture for name, picture in drawn.items() if picture is not None}


def walk_and_return(run: Run, look: Look, seed: int = 0) -> dict[str, Picture | None]:
    """``walk``, the walks of some examples, and ``reconstructions``, the ways back from where they end.

    Arguments:
        run: The run.
        look: How its states are shown.
        seed: Seed of the choice of examples and of all draws.
    """
    examples = run.data.examples(run.recipe.evaluate.split, look.shown, seed=seed, device=run.device)
    batch = next(examples.batches(len(examples)))
    path = walked(run.chain, run.process, batch, seeded(run.device, seed, "walk"))
    back = returned(run.chain, batch, path[0], seeded(run.device, seed, "way back"))
    return {"walk": drawn_walk(path, run.data, look), "reconstructions": drawn_reconstructions(path, back, run.data, look)}


def prior_and_ends(run: Run, look: Look, seed: int = 0) -> Picture | None:
    """The ends of walks beside draws of the prior; the arguments are those of :func:`walk_and_return`."""
    examples = run.data.examples(run.recipe.evaluate.split, EXAMPLES, seed=seed, device=run.device)
    batch = next(examples.batches(len(examples)))
    ends = last_states(run.chain, run.process, batch, seeded(run.device, seed, "ends of walks"))
    prior = run.chain.prior(batch.rows).sample(seeded(run.device, seed, "prior"))
    shown = [state for path in (ends, prior) for _, state in on_the_cpu([path], run.data)]
    return drawn_ends(shown[0], shown[1], run.data, look) if len(shown) == 2 else None


def drawn_end(run: Run) -> dict[str, Picture]:
    """``training``, what was logged beside the figures at the end, and ``training-walk``, those that can be drawn.

    Arguments:
        run: The run, its training ended.
    """
    keep(run)
    drawn = {
        "training": training_curves(run.record),
        "training-walk": drawn_training(kept(run.path / "walks"), run.data, Look.of(run.data)),
    }
    return {name: picture for name, picture in drawn.items() if picture is not None}


def save(run: Run, figures: Mapping[str, Picture], suffix: str = "") -> Path:
    """Writes pictures of a run.

    Arguments:
        run: The run.
        figures: The pictures by name.
        suffix: What stands behind their names.

    Returns:
        The folder.
    """
    folder = run.path / "pictures"
    folder.mkdir(exist_ok=True)
    for name, figure in figures.items():
        figure.save(folder / f"{name}{suffix}.png")
    return folder
