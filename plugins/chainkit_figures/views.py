"""The pictures of a run as methods of ``run.show``, for notebooks; each is also a file in ``RUN/pictures``.

A picture is a matplotlib figure: a notebook shows it, ``picture.words`` says what to see in it, and
``picture.save(path)`` writes it.
"""

from __future__ import annotations

from chainkit.errors import RecipeError
from chainkit.registry import suggest
from chainkit.run import Run
from chainkit_figures.curves import drawn_curves
from chainkit_figures.draw import data_range, pictures
from chainkit_figures.drift import drawn_drift
from chainkit_figures.inpainting import Hold, drawn_completions
from chainkit_figures.look import Look
from chainkit_figures.nearest import drawn_nearest
from chainkit_figures.of_run import prior_and_ends, walk_and_return
from chainkit_figures.picture import Picture
from chainkit_figures.training import training_curves
from chainkit_figures.training_walk import drawn_training, kept
from chainkit_figures.work import Asked, completed


def _given(picture: Picture | None, run: Run, what: str) -> Picture:
    if picture is None:
        raise RecipeError(f"{run.path}: there is no picture of {what} for {run.data.name} of shape {'x'.join(map(str, run.data.shape))}")
    return picture


def _sampled(run: Run, name: str, n: int | None, steps: int | None, seed: int) -> Picture:
    run.check_steps(steps or run.recipe.sample.steps, "steps")
    return _given(pictures(run.sample(n, steps=steps, seed=seed), run.data, [name]).get(name), run, name)


def samples(run: Run, n: int | None = None, *, steps: int | None = None, seed: int = 0) -> Picture:
    """Samples.

    Arguments:
        run: The run.
        n: How many; the recipe's number unless given.
        steps: N, the number of sampling steps; the recipe's unless given.
        seed: Seed of the draws.

    Raises:
        RecipeError: The data is not drawn, or the chain cannot take so many steps.
    """
    return _sampled(run, "samples", n, steps, seed)


def means(run: Run, n: int | None = None, *, steps: int | None = None, seed: int = 0) -> Picture:
    """Means of the last step of samples.

    Arguments and errors are those of :func:`samples`.
    """
    return _sampled(run, "means", n, steps, seed)


def chain(run: Run, n: int | None = None, *, steps: int | None = None, seed: int = 0) -> Picture:
    """The way of samples from noise to data.

    Arguments and errors are those of :func:`samples`.
    """
    return _sampled(run, "chain", n, steps, seed)


def nearest(run: Run, n: int | None = None, *, steps: int | None = None, seed: int = 0) -> Picture:
    """Samples beside the training examples nearest to them.

    Arguments and errors are those of :func:`samples`.
    """
    return _given(drawn_nearest(run.sample(n, steps=steps, seed=seed), run.data, Look.of(run.data)), run, "nearest examples")


def walk(run: Run, *, seed: int = 0) -> Picture:
    """The walks that training sees.

    Arguments:
        run: The run.
        seed: Seed of the choice of examples and of all draws.

    Raises:
        RecipeError: The data is not drawn.
    """
    return _given(walk_and_return(run, Look.of(run.data), seed)["walk"], run, "walks")


def reconstructions(run: Run, *, seed: int = 0) -> Picture:
    """Walks away from examples, and back.

    Arguments and errors are those of :func:`walk`.
    """
    return _given(walk_and_return(run, Look.of(run.data), seed)["reconstructions"], run, "reconstructions")


def prior(run: Run, *, seed: int = 0) -> Picture:
    """The ends of walks beside the prior.

    Arguments and errors are those of :func:`walk`.
    """
    return _given(prior_and_ends(run, Look.of(run.data), seed), run, "the prior")


def drift(run: Run) -> Picture:
    """Where the operator takes points of the plane.

    Raises:
        RecipeError: The states are no points of a plane, or labels condition the chain.
    """
    return _given(drawn_drift(run.chain, run.data, Look.of(run.data), run.device), run, "the drift")


def inpaint(
    run: Run,
    known: str = "left",
    n: int = 8,
    *,
    completions: int = 6,
    split: str | None = None,
    steps: int | None = None,
    hold: Hold | None = None,
    means: bool = False,
    seed: int = 0,
) -> Picture:
    """Completions of examples of which a part is known.

    Arguments:
        run: The run.
        known: ``left``, ``right``, ``top`` or ``bottom``, or a .png or .npy mask.
        n: How many examples.
        completions: How many for each of them.
        split: Where the examples are from; the recipe's unless given.
        steps: N, the number of sampling steps; the recipe's unless given.
        hold: ``raw`` or ``marginal``; as the process allows unless given.
        means: Whether to show the means of the last step instead of draws.
        seed: Seed of the choice of examples and of all draws.

    Raises:
        RecipeError: The data is no images, or the chain or the process does not allow what is asked.
        DataError: The mask cannot be used.
    """
    asked = Asked(known=known, count=n, completions=completions, split=split, steps=steps, hold=hold, means=means, seed=seed)
    return drawn_completions(completed(run, asked)[1], *data_range(run.data))


def training(run: Run) -> Picture:
    """What was logged while training, with the figures at the end.

    Raises:
        RecipeError: Nothing was logged.
    """
    return _given(training_curves(run.record), run, "training")


def training_walk(run: Run) -> Picture:
    """The training walks of the same examples as training went on.

    Raises:
        RecipeError: No walks were kept, since no training changes them or the data is not drawn.
    """
    return _given(drawn_training(kept(run.path / "walks"), run.data, Look.of(run.data)), run, "training walks")


def curves(run: Run, name: str = "steps") -> Picture:
    """How figures depend on something, such as the bound on the step.

    Arguments:
        run: The run.
        name: What was drawn: ``steps``, ``walks``, ``examples``, ...

    Raises:
        RecipeError: No figure has such curves.
    """
    found = drawn_curves([figure.estimate for figure in run.record.figures])
    if name not in found:
        raise RecipeError(f"{run.path}: no figure has curves named {name!r}{suggest(name, list(found))}")
    return found[name]
