"""Pictures of samples, by the kind of the data.

- Images: a grid of draws, one of the means of the last step, and a film strip of the chain, one row
  per sample from noise to data (infusion paper, figure 3.1; walkback paper, figure 1).
- Points in the plane: data and samples side by side, and the states on the way.
- Other vectors: one row of pixels per sample, and the states on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import attrs
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from chainkit.chain import Samples
from chainkit.data import Data
from chainkit.random import seeded
from chainkit_figures.images import as_images, evenly, grid, image_shape, states_on_the_way, strip
from chainkit_figures.picture import Picture

MOST_SAMPLES = 100
ROWS = 10
COLUMNS = 16
PANELS = 6
POINTS = 2000
NAMES = ("samples", "means", "chain")

Way: TypeAlias = list[tuple[int, Tensor]]


@attrs.frozen(kw_only=True)
class Drawing:
    """How states of some data are drawn.

    Arguments:
        states: Draws states under a title.
        chain: Draws the way from noise to data.
        words: What states are drawn as.
    """

    states: Callable[[Tensor, str], Picture]
    chain: Callable[[Way, Samples], Picture]
    words: str


def pictures(samples: Samples, data: Data, names: Sequence[str] = NAMES) -> dict[str, Picture]:
    """Figures of samples by name: ``samples``, ``means`` and ``chain``, those that can be drawn.

    Arguments:
        samples: The samples.
        data: The data that they imitate; its shape decides what is drawn, its values the range.
        names: Which of them to draw.
    """
    drawing = _drawing(data)
    if drawing is None or not (isinstance(samples.state, Tensor) and tuple(samples.state.shape[1:]) == data.shape):
        return {}
    count = f"{samples.steps} step{'s' * (samples.steps != 1)}"
    drawn = {}
    if "samples" in names:
        drawn["samples"] = drawing.states(samples.state, f"samples after {count}")
    if "means" in names and isinstance(samples.mean, Tensor) and data.shape != (2,):
        drawn["means"] = drawing.states(samples.mean, f"means of the last of {count}")
    way = states_on_the_way(samples.path, data.shape)
    if "chain" in names and len(way) > 1:
        drawn["chain"] = drawing.chain(way, samples)
    for name, picture in drawn.items():
        picture.title, picture.words = _told(name, samples, data, count, drawing.words)
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


def _drawing(data: Data) -> Drawing | None:
    """How states and chains of this data are drawn; None if they are not."""
    examples = _examples(data)
    low, high = value_range(examples)
    if image_shape(data.shape) is not None:
        return Drawing(
            states=lambda state, title: _image_grid(state, title, low, high),
            chain=lambda way, samples: _film(way, samples, low, high),
            words="as a grid of images",
        )
    if data.shape == (2,):
        return Drawing(
            states=lambda state, title: _scatter(examples, state, title),
            chain=lambda way, samples: _scatter_chain(examples, way),
            words="as points in the plane on the right, beside the data on the left",
        )
    if len(data.shape) == 1:
        return Drawing(
            states=lambda state, title: _rows(state, title, low, high),
            chain=lambda way, samples: _rows_chain(way, low, high),
            words="one row of pixels for each",
        )
    return None


def _examples(data: Data) -> Tensor:
    index = torch.arange(min(POINTS, len(data.split("train"))))
    return data.batch("train", index, seeded("cpu", 0, "figures")).origin.cpu()


def data_range(data: Data) -> tuple[float, float]:
    """The values of this data that become black and white, by its first examples (:func:`value_range`)."""
    return value_range(_examples(data))


def value_range(examples: Tensor) -> tuple[float, float]:
    """The values that become black and white: 0 and 1 if the examples lie between them, else their least and largest.

    Arguments:
        examples: Of the data, [n, *event].
    """
    low, high = float(examples.min()), float(examples.max())
    return (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)


def rendered(figure: Figure) -> np.ndarray:
    """A figure as pixels, uint8 [height, width, 3]."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _image_grid(state: Tensor, title: str, low: float, high: float) -> Picture:
    images = as_images(state[:MOST_SAMPLES], low, high)
    figure = Picture(6, 6.3)
    axes = figure.add_subplot()
    axes.imshow(grid(images), interpolation="nearest")
    axes.set_title(title)
    axes.axis("off")
    return figure


def _film(way: Way, samples: Samples, low: float, high: float) -> Picture:
    shown = [(f"$s_{{{k}}}$", state) for k, state in evenly(way, COLUMNS)]
    if isinstance(samples.mean, Tensor):
        shown.append(("mean", samples.mean))
    columns = [as_images(state[:ROWS], low, high) for _, state in shown]
    rows, height, width = columns[0].shape[:3]
    figure = Picture(1.0 + 0.6 * len(columns), 1.0 + 0.6 * rows * height / width)
    axes = figure.add_subplot()
    axes.imshow(strip(columns), interpolation="nearest")
    axes.xaxis.tick_top()
    axes.set_xticks([place * (width + 1) + (width - 1) / 2 for place in range(len(shown))], [name for name, _ in shown])
    axes.set_yticks([place * (height + 1) + (height - 1) / 2 for place in range(rows)], [str(row) for row in range(1, rows + 1)])
    axes.tick_params(length=0)
    axes.set_title("from noise to data")
    axes.set_ylabel("sample")
    return figure


def _panels(n: int, title: str) -> tuple[Picture, list[Axes]]:
    figure = Picture(0.6 + 2.6 * n, 3.4)
    axes = list(figure.subplots(1, n, sharex=True, sharey=True, squeeze=False)[0])
    figure.suptitle(title)
    return figure, axes


def _dots(axes: Axes, points: Tensor, title: str, colour: str) -> None:
    across, up = points[:POINTS].double().T.numpy()
    size = min(max(2000 / len(across), 4.0), 16.0)
    axes.scatter(across, up, s=size, alpha=0.6, color=colour, linewidths=0)
    axes.set_title(title)
    axes.set_aspect("equal")


def _limit(axes: Axes, points: Tensor) -> None:
    """Shows all but the outermost points, the same along both axes."""
    reach = 1.15 * float(points.double().abs().quantile(0.995))
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach))


def _scatter(examples: Tensor, state: Tensor, title: str) -> Picture:
    figure, (left, right) = _panels(2, title)
    _dots(left, examples, "data", "tab:blue")
    _dots(right, state, f"{len(state)} samples", "tab:orange")
    _limit(left, examples)
    return figure


def _scatter_chain(examples: Tensor, way: Way) -> Picture:
    shown = evenly(way, PANELS)
    figure, axes = _panels(len(shown) + 1, "from noise to data")
    for panel, (k, state) in zip(axes, shown, strict=False):
        _dots(panel, state, f"$s_{{{k}}}$", "tab:orange")
    _dots(axes[-1], examples, "data", "tab:blue")
    _limit(axes[0], torch.cat([examples, shown[0][1]]))
    return figure


def _raster(axes: Axes, state: Tensor, title: str, low: float, high: float) -> None:
    axes.imshow(state[:MOST_SAMPLES].double().numpy(), cmap="gray", vmin=low, vmax=high, aspect="auto", interpolation="nearest")
    axes.set_title(title)
    axes.set_xlabel("element")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _rows(state: Tensor, title: str, low: float, high: float) -> Picture:
    figure = Picture(5, 6)
    axes = figure.add_subplot()
    _raster(axes, state, title, low, high)
    axes.set_ylabel("sample")
    return figure


def _rows_chain(way: Way, low: float, high: float) -> Picture:
    shown = evenly(way, PANELS)
    figure, axes = _panels(len(shown), "from noise to data")
    for panel, (k, state) in zip(axes, shown, strict=True):
        _raster(panel, state, f"$s_{{{k}}}$", low, high)
    axes[0].set_ylabel("sample")
    return figure
