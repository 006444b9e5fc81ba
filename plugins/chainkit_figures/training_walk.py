"""The training walks of the same examples as training goes on (infusion paper, figure 3.2).

At the start and after 1, 2, 4, 8, ... epochs the states of a few walks, always from the same examples
and random numbers, are kept as ``walks/EPOCH.npz`` in the run directory; at the end they become one
picture. Nothing of this reaches the training: the walks draw from a source of their own, in
evaluation mode, with the normalisation statistics that the model has by then.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from chainkit.capabilities import Marginals
from chainkit.data import Data
from chainkit.files import write_file
from chainkit.random import seeded
from chainkit.run import Run
from chainkit_figures.images import as_images, evenly, strip
from chainkit_figures.look import Look
from chainkit_figures.picture import Picture
from chainkit_figures.sequence import Way, dots, limit, most_states, raster
from chainkit_figures.walk import on_the_cpu, walked

EXAMPLES = {"images": 3, "points": 300, "rows": 20}
"""How many walks are kept, by how states are shown."""
EPOCHS = {"images": 12, "points": 5, "rows": 5}
"""How many epochs a picture shows."""


def is_kept(epoch: int) -> bool:
    """Whether walks are kept after this many epochs: 0, 1, 2, 4, 8, ..."""
    return epoch & (epoch - 1) == 0


def keep(run: Run) -> None:
    """Keeps walks of a run as it stands; nothing for processes whose walks no training changes, and states that are not shown.

    Arguments:
        run: The run, training or finished.
    """
    look = Look.of(run.data)
    if look.kind == "nothing" or isinstance(run.process, Marginals):
        return
    examples = run.data.examples("train", EXAMPLES[look.kind], device=run.device)
    batch = next(examples.batches(len(examples)))
    model = run.model if run.finished else run.trainer.reported
    path = walked(model.chain, model.process, batch, seeded(run.device, run.recipe.seed, "training walk"))
    way = evenly(on_the_cpu(path, run.data), most_states(look))
    if len(way) > 1:
        content = io.BytesIO()
        np.savez(content, k=[k for k, _ in way], states=np.stack([state.float().numpy() for _, state in way]))
        file = run.path / "walks" / f"{run.epoch:06d}.npz"
        file.parent.mkdir(exist_ok=True)
        write_file(file, content.getvalue())


def kept(folder: Path) -> dict[int, Way]:
    """The walks that were kept, by epoch.

    Arguments:
        folder: ``walks`` of a run directory; it need not exist.
    """
    found = {}
    for file in sorted(folder.glob("*.npz")):
        with np.load(file, allow_pickle=False) as content:
            found[int(file.stem)] = list(zip(content["k"].tolist(), torch.from_numpy(content["states"]), strict=True))
    return found


def drawn_training(walks: Mapping[int, Way], data: Data, look: Look) -> Picture | None:
    """Epochs below each other, states from the noise end to the data beside each other; None for fewer than two epochs.

    Arguments:
        walks: Walks of the same examples by epoch, in order.
        data: The data.
        look: How states are shown.
    """
    if len(walks) < 2:
        return None
    chosen = evenly(list(walks.items()), EPOCHS[look.kind])
    picture = _films(chosen, look) if look.kind == "images" else _panels(chosen, look)
    picture.suptitle("training walks of the same examples, by epoch", fontsize="medium")
    epochs = ", ".join(str(epoch) for epoch, _ in chosen)
    picture.title = "Training walks as training goes on"
    picture.words = (
        f"Walks of the forward process from the same examples of {data.name}, with the same random numbers, after {epochs} epochs. With "
        "training the walk comes to look like the example in fewer steps, as far as the operator learns to read it from what it sees."
    )
    return picture


def _names(way: Way) -> list[str]:
    return ["$x$" if k == 0 else f"$s_{{{k}}}$" for k, _ in way]


def _films(chosen: Sequence[tuple[int, Way]], look: Look) -> Picture:
    """One film strip for each example, one row in it for each epoch."""
    first = chosen[0][1]
    examples, (rows, columns) = len(first[0][1]), (len(chosen), len(first))
    picture = Picture(max(1.2 + 0.5 * columns, 4.0), 0.9 + examples * (0.3 + 0.5 * rows))
    for number, axes in enumerate(picture.subplots(examples, 1, squeeze=False)[:, 0]):
        strips = [as_images(torch.stack([way[place][1][number] for _, way in chosen]), look.low, look.high) for place in range(columns)]
        height, width = strips[0].shape[1:3]
        axes.imshow(strip(strips), interpolation="nearest")
        axes.xaxis.tick_top()
        axes.set_xticks([place * (width + 1) + (width - 1) / 2 for place in range(columns)], _names(first))
        axes.set_yticks([place * (height + 1) + (height - 1) / 2 for place in range(rows)], [str(epoch) for epoch, _ in chosen])
        axes.tick_params(length=0, labelsize="small")
        axes.set_ylabel("epoch")
    return picture


def _panels(chosen: Sequence[tuple[int, Way]], look: Look) -> Picture:
    """One row of panels for each epoch."""
    columns = len(chosen[0][1])
    picture = Picture(0.8 + 2.0 * columns, 0.8 + 2.0 * len(chosen))
    grid = picture.subplots(len(chosen), columns, sharex=True, sharey=True, squeeze=False)
    for place, (row, (epoch, way)) in enumerate(zip(grid, chosen, strict=True)):
        for axes, name, (_, state) in zip(row, _names(way), way, strict=True):
            title = name if place == 0 else ""
            if look.kind == "points":
                dots(axes, state, title, "tab:orange")
            else:
                raster(axes, state, title, look)
            axes.label_outer()
        row[0].set_ylabel(f"epoch {epoch}")
    if look.kind == "points":
        limit(grid[0, 0], torch.cat([look.examples, chosen[0][1][0][1]]))
    return picture
