r"""The drift of an operator on the plane: where a step takes a point in the mean, :math:`E[s_{k-1} | s_k] - s_k`."""

from __future__ import annotations

import torch
from torch import Tensor

from chainkit.capabilities import Distribution, HasMean
from chainkit.chain import Chain
from chainkit.data import Data
from chainkit.modes import evaluating
from chainkit.random import seeded
from chainkit_figures.images import evenly
from chainkit_figures.look import Look
from chainkit_figures.picture import Picture
from chainkit_figures.sequence import dots, limit, panels

SIDE = 17
STEPS = 4
DRAWS = 100
"""Draws whose average stands for a mean that a kernel does not know."""


def drift(chain: Chain, points: Tensor, k: int) -> Tensor:
    """``E[s_{k-1} | s_k] - s_k`` at T_k, [n, *event], in model units.

    Arguments:
        chain: The generative chain, which nothing conditions.
        points: s_k, [n, *event], on the chain's device.
        k: The step.
    """
    temperature = chain.temperatures()[k - 1]
    with torch.no_grad(), evaluating(chain):
        kernel: Distribution = chain.operator(points, k, None).at(temperature)
        if isinstance(kernel, HasMean):
            return kernel.mean - points
        source = seeded(points.device, 0, "drift", k)
        return torch.stack([kernel.sample(source) for _ in range(DRAWS)]).mean(0) - points


def drawn_drift(chain: Chain, data: Data, look: Look, device: torch.device | str = "cpu") -> Picture | None:
    """Arrows over the data, one panel for each of some steps; None but for points in the plane that nothing conditions.

    Arguments:
        chain: The generative chain.
        data: The data.
        look: How its states are shown.
        device: Where the chain is.
    """
    if look.kind != "points" or data.classes is not None:
        return None
    steps = evenly(range(chain.steps, 0, -1), STEPS)
    picture, axes = panels(len(steps), "the drift of the operator: mean of the next state less the state")
    for panel, k in zip(axes, steps, strict=True):
        dots(panel, look.examples, f"step {k}", "0.8")
        reach = limit(panel, look.examples)
        line = torch.linspace(-0.95 * reach, 0.95 * reach, SIDE, dtype=look.examples.dtype)
        points = torch.cartesian_prod(line, line)
        arrows = drift(chain, points.to(device), k).cpu().double()
        length = arrows.norm(dim=1)
        across, up = (arrows / length.clamp(min=1e-12)[:, None]).T.numpy()
        shown = panel.quiver(*points.double().T.numpy(), across, up, length.numpy(), cmap="viridis", scale=1.1 * SIDE, width=0.006)
        picture.colorbar(shown, ax=panel, location="bottom", label="length (model units)", shrink=0.9)
    picture.set_figheight(4.1)
    picture.title = "The drift of the operator"
    picture.words = (
        f"Arrows from points of the plane to the mean of the state after steps {', '.join(map(str, steps))}, over {data.name} in grey; "
        "colours are their lengths. They should point to the data, ever more sharply as the step number falls."
    )
    return picture
