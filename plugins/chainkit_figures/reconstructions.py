r"""Walks away from examples, and the way back that the chain takes from where they end (walkback paper, figure 3).

.. math:: x \to s_1 \to \dots \to s_K = \hat s_K \to \hat s_{K-1} \to \dots \to \hat s_0

What comes back is like x as far as s_K remembers x: a walk that forgets everything, as a complete
diffusion's does, or that begins at the noise end, as infusion's, comes back as another sample.
"""

from __future__ import annotations

import torch
from torch import Tensor

from chainkit.batch import Batch
from chainkit.chain import Chain, Samples
from chainkit.data import Data
from chainkit.random import Source
from chainkit.states import State
from chainkit_figures.look import Look
from chainkit_figures.picture import Picture
from chainkit_figures.sequence import sequence, symbols
from chainkit_figures.walk import on_the_cpu

EACH_WAY = {"images": 6, "points": 3, "rows": 3}
"""States shown of each way."""


def returned(chain: Chain, batch: Batch, start: State, source: Source = None) -> Samples:
    """The chain's way back from given states s_K, with all states on it.

    Arguments:
        chain: The generative chain.
        batch: The examples that the states come from, for what conditions the chain.
        start: s_K, one row per example.
        source: Where the random numbers come from, on the device of the batch.
    """
    held = chain.steps
    return chain.sample(
        batch.rows, condition=batch.condition, clamp=lambda state, k: start if k == held else state, source=source, keep_path=True
    )


def drawn_reconstructions(path: list[State], back: Samples, data: Data, look: Look) -> Picture | None:
    """One row per example: itself, its walk to s_K, the way back, the mean at its end; None where states do not look like data.

    Arguments:
        path: s_K..s_1 and x of the walks (:func:`~chainkit_figures.walk.walked`).
        back: The way back from s_K.
        data: The data.
        look: How states are shown.
    """
    away, home = on_the_cpu(path, data), on_the_cpu(back.path, data)
    if len(away) < 2 or len(home) < 2:
        return None
    steps, most = len(path) - 1, EACH_WAY[look.kind]
    named = [("$x$", away[-1][1]), *symbols(away[-2::-1], most), *symbols(home[1:], most, hat=True)]
    if look.kind == "images" and isinstance(back.mean, Tensor):
        named.append(("mean", back.mean.cpu()))
    picture = sequence(named, look, f"away from $x$ to $s_{{{steps}}}$, and back", side="example")
    ends, origin = home[-1][1].double(), away[-1][1].double()
    apart, other = _distance(ends, origin), _distance(ends, origin.roll(1, 0))
    picture.title = "Reconstructions: walks away, and back"
    picture.words = (
        f"For each of {len(origin)} examples of {data.name}: itself, its walk of {steps} steps away from it, and the chain's way back from "
        f"where that ended. What comes back is {apart:.3g} from its example and {other:.3g} from the next one (root mean square per "
        "element): as far as the first is below the second, the end of the walk remembers where it came from."
    )
    return picture


def _distance(left: Tensor, right: Tensor) -> float:
    return float(torch.sqrt((left - right).square().mean()))
