r"""Infusion training on MNIST: 784-1200-1200 with batch normalisation per step, T = 15.

A step needs, for every walk of B examples, the products forward at T steps, the products for all
weights, and those for the inputs of all layers but the first:

.. math:: 2 T B \left(3 \sum_l n_l n_{l-1} - n_1 n_0\right) \text{ floating-point operations}

The rate row divides the time of exactly these products, run alone, by that of chainkit's step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import attrs
import torch
from measure import Row, Times, alternate
from torch import Tensor
from training import digits, examples, made, stepping
from yardsticks.infusion import Net, UserLoop
from yardsticks.infusion_bare import BareLoop

from chainkit.run import Run

NEAR = 1e-2
"""Standard deviation of what is infused, the root of the recipe's variance."""


@attrs.frozen(kw_only=True)
class Size:
    """How large the benchmark is.

    Arguments:
        batch: Examples in a batch.
        hidden: Widths of the hidden layers.
        steps: T.
    """

    batch: int = 128
    hidden: Sequence[int] = (1200, 1200)
    steps: int = 15


FULL = Size()
TINY = Size(batch=4, hidden=(8, 8), steps=3)

CHAIN = """
[chain]
steps = {steps}
extend = "data-end"
prior = {{ type = "gaussian", floor = 1e-5 }}

[chain.operator]
type = "infusion-gaussian"
mean = "{mean}"
variance_scale = {variance_scale}
network = {{ type = "mlp", hidden = {hidden}, norm = "per-step" }}

[process]
type = "infusion"
variance = 1e-4
rate = {{ type = "increasing", omega = 0.01 }}

[objective]
type = "denoising"

[train]
batch_size = {batch}
optimizer = {{ type = "adam", lr = 1e-3 }}
"""


def recipe(size: Size, data: str = "", *, mean: str = "sigmoid", variance_scale: float = 0.1) -> str:
    """The recipe of the benchmark.

    Arguments:
        size: How large it is.
        data: The ``[data]`` table; MNIST unless given.
        mean: How the mean head is read.
        variance_scale: Largest variance.
    """
    chain = CHAIN.format(
        steps=size.steps,
        hidden=list(size.hidden),
        batch=size.batch,
        mean=mean,
        variance_scale=variance_scale,
    )
    return (data or digits()) + chain


@torch.no_grad()
def copied(run: Run) -> Net:
    """The user's network with the weights of a run's; step k of the one is t = K - k + 1 of the other."""
    network, operator, steps = run.chain.operator.network, run.chain.operator, run.chain.steps
    layers = [network.first, *network.rest]
    linear = network.readout.linear
    widths = [layer.affine.out_features for layer in layers]
    net = Net(
        layers[0].affine.in_features,
        widths,
        steps,
        sigmoid_mean=operator.link.mean is torch.sigmoid,
        variance_scale=operator.variance_scale,
    ).to(linear.weight.dtype)
    for own, norms, layer in zip(net.layers, net.norms, layers, strict=True):
        own.weight.copy_(layer.affine.weight)
        for t, norm in enumerate(norms, 1):
            norm.weight.copy_(layer.norm.weight[steps - t])
            norm.bias.copy_(layer.norm.bias[steps - t])
    net.heads.weight.copy_(linear.weight)
    net.heads.bias.copy_(linear.bias)
    return net


def loop_arguments(run: Run) -> dict[str, object]:
    """What both loops take besides the network: prior, rates, width of what is infused."""
    prior = run.chain.prior
    return {"prior": (prior.mean.flatten(), prior.variance.flatten().sqrt()), "rates": run.process.rates(run.chain.steps), "near": NEAR}


def dequantised(run: Run, rows: int) -> Callable[[], Tensor]:
    """A user's batches: pixels with uniform noise, scaled to [0, 1]."""
    raw = examples(run, rows)

    def batch() -> Tensor:
        pixels = raw().float()
        return (pixels + torch.rand_like(pixels)) / 256

    return batch


def products(size: Size, pixels: int, dtype: torch.dtype) -> Callable[[], None]:
    """The matrix products that one step needs, alone: forward step by step, backward for all steps at once."""
    widths = [pixels, *size.hidden, 2 * pixels]
    weights = [torch.randn(outputs, inputs, dtype=dtype) for inputs, outputs in pairwise(widths)]
    values = [torch.randn(size.steps * size.batch, width, dtype=dtype) for width in widths]

    def work() -> None:
        for t in range(size.steps):
            for weight, inputs in zip(weights, values, strict=False):
                torch.mm(inputs[t * size.batch : (t + 1) * size.batch], weight.T)
        for layer, weight in enumerate(weights):
            torch.mm(values[layer + 1].T, values[layer])
            if layer:
                torch.mm(values[layer + 1], weight)

    return work


def operations(size: Size, pixels: int) -> int:
    """Floating-point operations of these products."""
    sizes = [inputs * outputs for inputs, outputs in pairwise([pixels, *size.hidden, 2 * pixels])]
    return 2 * size.steps * size.batch * (3 * sum(sizes) - sizes[0])


def contenders(size: Size) -> tuple[dict[str, Callable[[], object]], int]:
    """What is timed, by name, and the number of pixels."""
    run, ungraphed = made(recipe(size)), made(recipe(size), ["train.graph=false"])
    narrow = made(recipe(size), ['train.precision="bfloat16"'])
    net, batch = copied(run), dequantised(run, size.batch)
    user = UserLoop(net, **loop_arguments(run))
    bare = BareLoop(net, **loop_arguments(run), rows=size.batch)
    pixels = run.data.summary.dim
    return {
        "user": lambda: user.update(batch()),
        "chainkit": stepping(run),
        "chainkit without a graph": stepping(ungraphed),
        "bare": lambda: bare.update(batch()),
        "chainkit bfloat16": stepping(narrow),
        "products": products(size, pixels, torch.float32),
        "products bfloat16": products(size, pixels, torch.bfloat16),
    }, pixels


def rows(repeats: int, size: Size = FULL) -> Iterator[Row]:
    """The rows of this family.

    Arguments:
        repeats: Rounds of timing.
        size: How large the benchmark is.
    """
    works, pixels = contenders(size)
    times = alternate(works, rounds=repeats)
    details = times.milliseconds()
    yield Row(name="infusion MNIST step over the user's loop, float32", measured=times.ratio("user", "chainkit"), unit="x",
              at_least=1.3, aim=1.65, details=details)  # fmt: skip
    yield Row(name="infusion MNIST step, bfloat16, over the user's loop in float32", measured=times.ratio("user", "chainkit bfloat16"),
              unit="x", at_least=2.0, aim=2.8)  # fmt: skip
    yield _rate(times, size, pixels, "chainkit", "products", 60, 75)
    yield _rate(times, size, pixels, "chainkit bfloat16", "products bfloat16", 50, 65)
    yield Row(name="infusion MNIST step over a bare loop of the same algorithm", measured=times.ratio("chainkit", "bare"),
              unit="x time", at_least=1.03, aim=1.01)  # fmt: skip
    yield Row(name="infusion MNIST step without a graph over a bare loop of the same algorithm",
              measured=times.ratio("chainkit without a graph", "bare"), unit="x time")  # fmt: skip


def _rate(times: Times, size: Size, pixels: int, step: str, alone: str, at_least: float, aim: float) -> Row:
    billions = operations(size, pixels) / 1e9
    return Row(
        name=f"floating-point rate of the {step} step over that of its products alone",
        measured=100 * times.ratio(alone, step),
        unit="%",
        at_least=at_least,
        aim=aim,
        details={"step, GFLOP/s": billions / times.median(step), "products, GFLOP/s": billions / times.median(alone)},
    )
