"""``chainkit inpaint``, defined without torch."""

from __future__ import annotations

from pathlib import Path

import click

from chainkit.cli.run import DEVICE, RUN
from chainkit.host import Host


@click.command("inpaint")
@RUN
@click.option("--known", default="left", show_default=True, metavar="HALF|MASK", help="left, right, top, bottom, or a .png or .npy mask.")
@click.option("-n", "count", type=click.IntRange(min=1), default=8, show_default=True, help="How many examples.")
@click.option("--completions", type=click.IntRange(min=1), default=6, show_default=True, help="How many for each of them.")
@click.option("--split", type=click.Choice(["train", "valid", "test"]), help="Where the examples are from; the recipe's unless given.")
@click.option("--steps", type=click.IntRange(min=1), help="Number of sampling steps; the recipe's unless given.")
@click.option("--hold", type=click.Choice(["raw", "marginal"]), help="How known pixels are held; as the process allows unless given.")
@click.option("--means", is_flag=True, help="Show the means of the last step, which are less noisy, instead of draws.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the choice of examples and of all draws.")
@DEVICE
@click.pass_obj
def inpaint(
    host: Host,
    run: Path,
    known: str,
    count: int,
    completions: int,
    split: str | None,
    steps: int | None,
    hold: str | None,
    means: bool,
    seed: int,
    device: str | None,
) -> None:
    """Complete examples of which a part is known, by the run in directory RUN, several times each.

    Known pixels are held raw, at their values in every state, or drawn from the marginal of the
    forward process at each step, which a fixed diffusion has; the picture says which.
    """
    from chainkit_figures import work

    asked = work.Asked(known=known, count=count, completions=completions, split=split, steps=steps, hold=hold, means=means, seed=seed)
    work.inpaint(host, run, asked, device)
