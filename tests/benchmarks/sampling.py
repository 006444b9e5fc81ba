"""Sampling: a chain's steps over its network's evaluations alone, and a diffusion's over its formula written out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import attrs
import infusion
import torch
from measure import Row, alternate
from training import digits, made
from yardsticks import diffusion

from chainkit.modes import evaluating
from chainkit.random import seeded
from chainkit.run import Run


@attrs.frozen(kw_only=True)
class Size:
    """How large the benchmark is.

    Arguments:
        samples: Samples of the infusion chain.
        steps: Steps of it.
        net: Size of its network.
        diffusion_samples: Samples of the diffusion.
        diffusion_steps: Steps of it.
        diffusion_hidden: Hidden layers of its network.
    """

    samples: int = 256
    steps: int = 30
    net: infusion.Size = infusion.FULL
    diffusion_samples: int = 128
    diffusion_steps: int = 50
    diffusion_hidden: Sequence[int] = (1200, 1200, 1200)


FULL = Size()
TINY = Size(samples=4, steps=4, net=infusion.TINY, diffusion_samples=2, diffusion_steps=3, diffusion_hidden=(8,))

DIFFUSION = """
[chain]
steps = {steps}
extend = "respace"
prior = {{ type = "gaussian", fit = false }}

[chain.operator]
type = "noise-prediction"
clip = [0.0, 1.0]
network = {{ type = "mlp", hidden = {hidden}, activation = "silu", step = "embedding" }}

[process]
type = "diffusion-gaussian"
schedule = {{ type = "variance-cosine" }}

[objective]
type = "diffusion-simple"

[train]
optimizer = {{ type = "adam", lr = 1e-3 }}
"""


def drawing(run: Run, n: int, steps: int, narrow: bool) -> Callable[[], object]:
    """A function that draws samples, in bfloat16 where wanted."""

    def work() -> object:
        with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
            return run.chain.sample(n, steps=steps, source=seeded("cpu", 0, "samples"))

    return work


def forwards(run: Run, n: int, steps: int, narrow: bool) -> Callable[[], object]:
    """A function that evaluates the network as often as sampling does, and does nothing with it."""
    state = torch.rand(n, *run.data.shape)
    indices = [step.index for step in run.chain.plan(steps)[1]]

    @torch.no_grad()
    def work() -> None:
        with evaluating(run.chain), torch.autocast("cpu", torch.bfloat16, enabled=narrow):
            for k in reversed(indices):
                run.chain.operator.network(state, k)

    return work


def rows(repeats: int, size: Size = FULL) -> Iterator[Row]:
    """The rows of this family.

    Arguments:
        repeats: Rounds of timing.
        size: How large the benchmark is.
    """
    run = made(infusion.recipe(size.net))
    for words, narrow, at_least, aim in (("float32", False, 1.12, 1.06), ("bfloat16", True, 1.25, 1.17)):
        given = (run, size.samples, size.steps, narrow)
        times = alternate({"chainkit": drawing(*given), "forwards": forwards(*given)}, rounds=repeats)
        yield Row(name=f"sampling over the network's forwards alone, {words}", measured=times.ratio("chainkit", "forwards"),
                  unit="x time", at_least=at_least, aim=aim, details=times.milliseconds())  # fmt: skip
    yield _diffusion(repeats, size)


def _diffusion(repeats: int, size: Size) -> Row:
    chain = DIFFUSION.format(steps=size.diffusion_steps, hidden=list(size.diffusion_hidden))
    run = made(digits() + chain)
    network, n = run.chain.operator.network, size.diffusion_samples
    variances = run.process.schedule.values(size.diffusion_steps)
    works = {
        "chainkit": drawing(run, n, size.diffusion_steps, False),
        "bare": lambda: diffusion.sample(lambda state, k: network(state, k)[0], variances, (n, *run.data.shape)),
    }
    times = alternate(works, rounds=repeats)
    return Row(name="diffusion sampler, step over a bare posterior step", measured=times.ratio("chainkit", "bare"), unit="x time",
               at_least=1.2, aim=1.05, details=times.milliseconds(size.diffusion_steps))  # fmt: skip
