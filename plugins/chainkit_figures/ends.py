r"""Where walks end beside the prior that generation starts from.

The two should have one law: what q(s_K) has that p*(s_K) lacks is lost to the bound, as
:math:`KL(q(s_K) \,\|\, p^*)` (the estimator ``prior-gap`` says how much, in nats).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from chainkit.data import Data
from chainkit_figures.images import image_shape
from chainkit_figures.look import Look
from chainkit_figures.picture import Picture
from chainkit_figures.sequence import dots, limit, panels

EXAMPLES = 500


def drawn_ends(ends: Tensor, prior: Tensor, data: Data, look: Look) -> Picture | None:
    """The ends of walks beside as many draws of the prior: points, or mean and standard deviation of every element.

    Arguments:
        ends: s_K of one walk per example, [n, *event], n at least 2, on the CPU.
        prior: Draws of p*(s_K), [n, *event], on the CPU.
        data: The data.
        look: How states are shown.
    """
    if look.kind == "nothing":
        return None
    ends, prior, n = ends.double(), prior.double(), len(ends)
    picture = _points(ends, prior) if look.kind == "points" else _moments(ends, prior)
    picture.title = "The ends of the walks, and the prior"
    apart = float(torch.sqrt(((ends.mean(0) - prior.mean(0)) / prior.std(0).clamp(min=1e-12)).square().mean()))
    picture.words = (
        f"Where {n} walks from {data.name} end, beside {n} draws of the prior. Their means are {apart:.2g} standard deviations "
        f"apart (root mean square over elements), where draws of one law would be {math.sqrt(2 / n):.2g} apart. The closer, the less of "
        "the bound is lost by starting from the prior."
    )
    return picture


def _points(ends: Tensor, prior: Tensor) -> Picture:
    picture, (left, right) = panels(2, "the ends of the walks, and the prior")
    dots(left, ends, "$s_K$ of walks", "tab:green")
    dots(right, prior, "draws of the prior", "tab:orange")
    limit(left, torch.cat([ends, prior]))
    return picture


def _moments(ends: Tensor, prior: Tensor) -> Picture:
    rows = [("mean", ends.mean(0), prior.mean(0)), ("standard deviation", ends.std(0), prior.std(0))]
    return (_lines if image_shape(ends.shape[1:]) is None else _maps)(rows)


def _lines(rows: Sequence[tuple[str, Tensor, Tensor]]) -> Picture:
    """One panel for each moment, over the elements."""
    picture = Picture(6.4, 5)
    picture.suptitle("the ends of the walks, and the prior")
    for axes, (name, left, right) in zip(picture.subplots(len(rows), 1, sharex=True), rows, strict=True):
        axes.plot(left.numpy(), marker=".", color="tab:green", label="$s_K$ of walks")
        axes.plot(right.numpy(), marker=".", color="tab:orange", label="draws of the prior")
        axes.set_ylabel(name)
        axes.grid(alpha=0.3)
    axes.set_xlabel("element")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    picture.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return picture


def _maps(rows: Sequence[tuple[str, Tensor, Tensor]]) -> Picture:
    """One row for each moment, walks on the left and the prior on the right, colours being averaged."""
    picture = Picture(6, 5.4)
    picture.suptitle("the ends of the walks, and the prior")
    for line, (name, *moments) in zip(picture.subplots(len(rows), 2), rows, strict=True):
        shape = image_shape(moments[0].shape)
        assert shape is not None
        maps = [moment.reshape(shape).mean(0) for moment in moments]
        low, high = min(float(each.min()) for each in maps), max(float(each.max()) for each in maps)
        for axes, each, whose in zip(line, maps, ("walks", "prior"), strict=True):
            shown = axes.imshow(each.numpy(), vmin=low, vmax=max(high, low + 1e-9), cmap="viridis", interpolation="nearest")
            axes.set(title=f"{name}, {whose}", xticks=[], yticks=[])
            axes.title.set_size("medium")
        picture.colorbar(shown, ax=list(line), label="model units")
    return picture
