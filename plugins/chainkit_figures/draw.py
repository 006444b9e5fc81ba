"""Pictures of samples, by the kind of the data.

- Images: a grid of draws, one of the means of the last step, and a film strip of the chain, one row
  per sample from noise to data (infusion paper, figure 3.1; walkback paper, figure 1).
- Points in the plane: data and samples side by side, and the states on the way.
- Other vectors: one row of pixels per sample, and the states on the way.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from chainkit.chain import Samples
from chainkit.data import Data
from chainkit_figures.images import as_images, grid, states_on_the_way
from chainkit_figures.look import Look
from chainkit_figures.picture import Picture
from chainkit_figures.sequence import dots, limit, most_states, panels, raster, sequence, symbols

MOST_SAMPLES = 100
NAMES = ("samples", "means", "chain")

WORDS = {
    "images": "as a grid of images",
    "points": "as points in the plane on the right, beside the data on the left",
    "rows": "one row of pixels for each",
}
"""What states are drawn as."""


def pictures(samples: Samples, data: Data, names: Sequence[str] = NAMES) -> dict[str, Picture]:
    """Figures of samples by name: ``samples``, ``means`` and ``chain``, those that can be drawn.

    Arguments:
        samples: The samples.
        data: The data that they imitate; its shape decides what is drawn, its values the range.
        names: Which of them to draw.
    """
    look = Look.of(data)
    if look.kind == "nothing" or not (isinstance(samples.state, Tensor) and tuple(samples.state.shape[1:]) == data.shape):
        return {}
    count = f"{samples.steps} step{'s' * (samples.steps != 1)}"
    drawn = {}
    if "samples" in names:
        drawn["samples"] = _states(samples.state, look, f"samples after {count}")
    if "means" in names and isinstance(samples.mean, Tensor) and look.kind != "points":
        drawn["means"] = _states(samples.mean, look, f"means of the last of {count}")
    if "chain" in names and (chain := _chain(samples, look)) is not None:
        drawn["chain"] = chain
    for name, picture in drawn.items():
        picture.title, picture.words = _told(name, samples, data, count, WORDS[look.kind])
    return drawn


def _told(name: str, samples: Samples, data: Data, count: str, drawn_as: str) -> tuple[str, str]:
    """Title and words of a picture."""
    n = len(samples.state)
    return {
        "samples": (f"Samples after {count}", f"{n} samples that a chain of {count} drew, imitating {data.name}, {drawn_as}."),
        "means": (f"Means of the last of {count}", f"The means of the last step for the same {n} samples, {drawn_as}."),
        "chain": (
            "From noise to data",
            f"The way of samples through a chain of {count}, from noise on the left to {data.name} on the right.",
        ),
    }[name]


def _chain(samples: Samples, look: Look) -> Picture | None:
    way = states_on_the_way(samples.path, look.shape, samples.kept)
    if len(way) < 2:
        return None
    named = symbols(way, most_states(look))
    if look.kind == "images" and isinstance(samples.mean, Tensor):
        named.append(("mean", samples.mean))
    return sequence(named, look, "from noise to data")


def data_range(data: Data) -> tuple[float, float]:
    """The values of this data that become black and white, by its first examples (:func:`~chainkit_figures.look.value_range`)."""
    look = Look.of(data)
    return look.low, look.high


def rendered(figure: Figure) -> np.ndarray:
    """A figure as pixels, uint8 [height, width, 3]."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _states(state: Tensor, look: Look, title: str) -> Picture:
    """States under a title."""
    return {"images": _image_grid, "points": _scatter, "rows": _rows}[look.kind](state, look, title)


def _image_grid(state: Tensor, look: Look, title: str) -> Picture:
    images = as_images(state[:MOST_SAMPLES], look.low, look.high)
    figure = Picture(6, 6.3)
    axes = figure.add_subplot()
    axes.imshow(grid(images), interpolation="nearest")
    axes.set_title(title)
    axes.axis("off")
    return figure


def _scatter(state: Tensor, look: Look, title: str) -> Picture:
    figure, (left, right) = panels(2, title)
    dots(left, look.examples, "data", "tab:blue")
    dots(right, state, f"{len(state)} samples", "tab:orange")
    limit(left, look.examples)
    return figure


def _rows(state: Tensor, look: Look, title: str) -> Picture:
    figure = Picture(5, 6)
    axes = figure.add_subplot()
    raster(axes, state, title, look)
    axes.set_ylabel("sample")
    return figure
