r"""The walk that a chain is trained on, from the end of noise to the data point (infusion paper, figure 3.2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from chainkit.batch import Batch
from chainkit.capabilities import Marginals
from chainkit.chain import Chain
from chainkit.data import Data
from chainkit.interrupt import poll
from chainkit.modes import evaluating
from chainkit.process import ForwardProcess
from chainkit.random import Source
from chainkit.states import State, map_state
from chainkit_figures.images import states_on_the_way
from chainkit_figures.look import Look
from chainkit_figures.picture import Picture
from chainkit_figures.sequence import Way, most_states, sequence, symbols


def walked(chain: Chain, process: ForwardProcess, batch: Batch, source: Source = None) -> list[State]:
    """The states s_K..s_1 and x of one walk from each example, without gradients and in evaluation mode.

    Arguments:
        chain: The generative chain; its operator is evaluated once per state.
        process: The forward process.
        batch: The examples.
        source: Where the random numbers come from, on the device of the batch.
    """
    states: dict[int, State] = {0: batch.origin}
    with torch.no_grad(), evaluating(chain, process):
        for k, state in _steps(chain, process, batch, source):
            states[k] = state
    return [states[k] for k in sorted(states, reverse=True)]


def _steps(chain: Chain, process: ForwardProcess, batch: Batch, source: Source) -> Iterator[tuple[int, State]]:
    for transition in process.walk(chain, batch, source=source):
        poll()
        yield int(torch.as_tensor(transition.k).flatten()[0]), transition.state


def last_states(chain: Chain, process: ForwardProcess, batch: Batch, source: Source = None) -> State:
    """s_K of one walk from each example, drawn at once where the process can; the arguments are those of :func:`walked`."""
    with torch.no_grad(), evaluating(chain, process):
        if isinstance(process, Marginals):
            return process.marginal(batch.origin, chain.steps).sample(source)
        return next(state for k, state in _steps(chain, process, batch, source) if k == chain.steps)


def on_the_cpu(path: list[Any], data: Data) -> Way:
    """The states that look like data, on the CPU.

    Arguments:
        path: s_N..s_0.
        data: The data.
    """
    return states_on_the_way([map_state(Tensor.cpu, state) for state in path], data.shape)


def drawn_walk(path: list[State], data: Data, look: Look) -> Picture | None:
    """One row per example: its walk from the noise end on the left to itself on the right; None where states do not look like data.

    Arguments:
        path: s_K..s_1 and x (:func:`walked`).
        data: The data.
        look: How states are shown.
    """
    way = on_the_cpu(path, data)
    if len(way) < 2:
        return None
    steps = len(path) - 1
    named = [*symbols(way[:-1], most_states(look) - 1), ("$x$", way[-1][1])] if len(way) > 2 else symbols(way, 2)
    picture = sequence(named, look, "the walks that training sees", side="example")
    picture.title = f"Training walks of {steps} step{'s' * (steps != 1)}"
    picture.words = (
        f"One walk of the forward process for each of {len(way[0][1])} examples of {data.name}, from s_K on the left to the example x "
        "on the right: the states that the operator learns to leave. Noise on the left should turn into the example step by step."
    )
    return picture
