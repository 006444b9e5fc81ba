r"""Completions of examples of which some pixels are known, drawn by the chain itself.

At every state the known pixels are put in place and the chain draws the others. How they are held:

- *raw*: at their values x in every state s_N..s_0 (walkback paper, figure 2; infusion paper, figure
  3.6), which suits chains whose states look like data from early on;
- from the *marginal*: in s_k, k >= 1, drawn from q(s_k | x), so that known and unknown pixels are
  equally noisy, and raw in s_0 (a fixed diffusion).

Neither draws exactly from p(unknown | known): the known pixels act on the steps to come alone.
"""

from __future__ import annotations

from textwrap import wrap
from typing import Literal

import attrs
import torch
from torch import Tensor

from chainkit.batch import Batch
from chainkit.capabilities import Marginals
from chainkit.chain import Chain, Clamp
from chainkit.errors import RecipeError
from chainkit.extension import RULES
from chainkit.process import ForwardProcess
from chainkit.random import Source
from chainkit.states import State
from chainkit_figures.images import BORDER, as_images, strip
from chainkit_figures.picture import Picture

Hold = Literal["raw", "marginal"]
LETTERS = 12
"""Letters of a title that surely fit into an inch."""

HELD: dict[str, str] = {
    "raw": "known pixels held at their values in every state",
    "marginal": "known pixels drawn from q(s_k | x) in every state on the way, and put back in the last",
}


@attrs.frozen(kw_only=True, eq=False)
class Completions:
    """Examples and what a chain made of the parts of them that it was shown.

    Arguments:
        origin: x, [n, *event], in model units.
        mask: Boolean [*event], true where pixels are known.
        completed: [n, m, *event]; known pixels are those of x.
        hold: How known pixels were held.
        steps: Number of sampling steps.
        means: Whether ``completed`` holds the means of the last step instead of draws.
    """

    origin: Tensor
    mask: Tensor
    completed: Tensor
    hold: Hold
    steps: int
    means: bool = False

    @property
    def words(self) -> str:
        """What was drawn, and how known pixels were held."""
        return f"{'means of completions' if self.means else 'completions'} after {self.steps} steps; {HELD[self.hold]}"


def complete(
    chain: Chain,
    process: ForwardProcess,
    batch: Batch,
    mask: Tensor,
    *,
    completions: int = 6,
    steps: int | None = None,
    hold: Hold | None = None,
    means: bool = False,
    source: Source = None,
) -> Completions:
    """Completes examples.

    Arguments:
        chain: The generative chain.
        process: The forward process.
        batch: The examples x, and what they are conditioned on.
        mask: Boolean [*event], true where a pixel is known.
        completions: m, how many for each example, at least 1.
        steps: N, the number of sampling steps; the trained K unless given.
        hold: ``raw`` or ``marginal``; the latter where the process has marginals, unless given.
        means: Whether to give the means of the last step, which are less noisy, instead of its draws.
        source: Where the random numbers come from, on the device of the batch.

    Raises:
        RecipeError: Marginals or means are asked for and there are none, or no part of a state has
            the shape of the data.
        ValueError: The chain's rule does not allow this number of steps.
    """
    way: Hold = hold or ("marginal" if isinstance(process, Marginals) else "raw")
    many = batch.repeat(completions)
    if way == "raw":
        clamp = _raw(mask, many.origin)
    elif isinstance(process, Marginals):
        clamp = _marginal(mask, many.origin, process, _indices(chain, steps), source)
    else:
        raise RecipeError(f"{type(process).__name__} has no marginals to draw known pixels from")
    drawn = chain.sample(many.rows, steps=steps, condition=many.condition, clamp=clamp, source=source)
    state = drawn.mean if means else drawn.state
    if state is None:
        raise RecipeError("the last step of this chain has no mean")
    completed = state.unflatten(0, (batch.rows, completions))
    return Completions(origin=batch.origin, mask=mask, completed=completed, hold=way, steps=drawn.steps, means=means)


def _indices(chain: Chain, steps: int | None) -> list[int]:
    """The trained step that each state s_1..s_N of a sampling chain stands for."""
    return [step.index for step in RULES[chain.extend](steps or chain.steps, chain.steps)]


def _raw(mask: Tensor, value: Tensor) -> Clamp:
    return lambda state, k: _put(state, mask, value)


def _marginal(mask: Tensor, value: Tensor, process: Marginals, indices: list[int], source: Source) -> Clamp:
    return lambda state, k: _put(state, mask, value if k == 0 else process.marginal(value, indices[k - 1]).sample(source))


def _put(state: State, mask: Tensor, value: Tensor) -> State:
    """The state with known pixels in place; of nested states in their first part, which is the visible one."""
    if isinstance(state, tuple):
        return (_put(state[0], mask, value), *state[1:])
    if state.shape != value.shape:
        raise RecipeError(f"states of shape {tuple(state.shape[1:])} do not show the pixels of data of shape {tuple(value.shape[1:])}")
    return torch.where(mask, value, state)


def drawn_completions(found: Completions, low: float, high: float) -> Picture:
    """One row for each example: itself, what is known of it, and its completions.

    Arguments:
        found: The completions.
        low: The value that becomes black.
        high: The value that becomes white.
    """
    images, n = as_images(found.origin, low, high), found.completed.shape[1]
    known = as_images(found.mask.expand(found.origin.shape).double()) > 0
    columns = [images, images * known + BORDER * ~known, *[as_images(found.completed[:, j], low, high) for j in range(n)]]
    rows, height, width = images.shape[:3]
    picture = Picture(1.0 + 0.6 * len(columns), 1.2 + 0.6 * rows * height / width)
    axes = picture.add_subplot()
    axes.imshow(strip([column.astype("uint8") for column in columns]), interpolation="nearest")
    axes.xaxis.tick_top()
    heads = ["x", "known", *[str(j) for j in range(1, n + 1)]]
    axes.set_xticks([place * (width + 1) + (width - 1) / 2 for place in range(len(columns))], heads)
    axes.set_yticks([])
    axes.tick_params(length=0)
    lines = [line for words in found.words.split("; ") for line in wrap(words, int(picture.get_figwidth() * LETTERS))]
    axes.set_title("\n".join(lines), fontsize="medium")
    picture.title = f"{found.words[0].upper()}{found.words[1:]}"
    picture.words = f"{rows} rows: an example, its known pixels with the others grey, and {n} {found.words}."
    return picture
