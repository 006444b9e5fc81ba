"""The steps of a walk, trained as one batch.

A :class:`~chainkit.objective.LocalObjective` asks for no gradient from one step to another: the
walk may be drawn first, without a graph, and the loss of many of its steps taken together. Each
network evaluation still happens once (:mod:`chainkit.replay`), on the states and draws of a step by
step walk. Memory is that of a chunk of steps, whatever the length of the chain.

Whether a model can be trained so is found out, not declared: before the first update its steps are
evaluated together and one at a time, and every layer's input and every loss must be the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from chainkit.batch import Batch
from chainkit.build import Model
from chainkit.distributed import lead
from chainkit.modes import frozen_statistics
from chainkit.objective import LocalObjective, Loss
from chainkit.random import Source
from chainkit.replay import Evaluation, NotReplayable, Recorder, interleaved, require_close
from chainkit.states import State, tensors
from chainkit.transition import Transition

CHUNK_BYTES = 2**24
"""Largest memory of the states of one chunk of steps and of the layers' outputs at them."""

Step: TypeAlias = tuple[Transition, Evaluation]


class Stacked:
    """A model whose steps are taken together.

    Arguments:
        model: What is trained.
        comparing: Whether every layer's input is compared with what it was when the walk was drawn.

    Raises:
        NotReplayable: The objective is not local, or its operator has parameters in products of its own.
    """

    def __init__(self, model: Model, *, comparing: bool = False) -> None:
        objective = model.objective
        if not isinstance(objective, LocalObjective) or type(objective).losses is not LocalObjective.losses:
            raise NotReplayable(f"{type(objective).__name__} is no function of one transition")
        self.objective = objective
        self.chain = model.chain
        self.process = model.process
        self.recorder = Recorder(model.chain.operator, comparing=comparing)
        self._longest: int | None = None
        self._constants: dict[tuple[object, ...], Tensor] = {}

    def losses(self, batch: Batch, source: Source) -> Iterator[Loss]:
        """The losses of ``LocalObjective.losses``, those of a chunk of steps in one.

        Arguments:
            batch: The examples.
            source: Where the random numbers come from.
        """
        walk = self.walk(batch, source)
        with self.recorder.unchanged():
            while drawn := self.draw(walk):
                losses = self.together(drawn, batch)
                weights = self._constant([transition.weight for transition, _ in drawn], losses)
                yield Loss(value=(losses.mean(0) * weights).sum())  # no product of vectors: autocast would round it to bfloat16
                del drawn, losses

    def walk(self, batch: Batch, source: Source) -> Iterator[Transition]:
        """The steps to train on."""
        return self.objective.transitions(self.chain, self.process, batch, source)

    @torch.no_grad()
    def draw(self, walk: Iterator[Transition]) -> list[Step]:
        """The next steps of a walk, as many as one chunk holds."""
        drawn: list[Step] = []
        # Running statistics are moved where all steps are evaluated together.
        with self.recorder.recording() as evaluations, frozen_statistics(self.chain.operator):
            for transition in walk:
                found = [evaluation for evaluation in evaluations if evaluation.state is transition.state]
                if not found:
                    raise NotReplayable("the operator was not evaluated at the state of the step")
                evaluations.clear()
                drawn.append((transition, found[-1]))
                if len(drawn) >= self._limit(found[-1]):
                    break
        return drawn

    def _limit(self, evaluation: Evaluation) -> int:
        """How many steps a chunk holds, the same in all processes: their statistics are those of the same steps."""
        if self._longest is None:
            self._longest = lead(lambda: CHUNK_BYTES // max(1, evaluation.bytes))
        return self._longest

    def together(self, drawn: Sequence[Step], batch: Batch) -> Tensor:
        """The losses [B, T] of T steps.

        Raises:
            NotReplayable: They cannot be taken together.
        """
        transitions = [transition for transition, _ in drawn]
        steps = [_int_step(transition) for transition in transitions]
        repeated = batch.repeat(len(steps))
        state = _interleaved([transition.state for transition in transitions])
        like = tensors(state)[0]
        k = self._constant(steps, like, torch.int64, batch.rows)
        with self.recorder.replaying([evaluation for _, evaluation in drawn]):
            kernel = self.chain.operator(state, k, repeated.condition)
        stack = Transition(
            k=k,
            steps=transitions[0].steps,
            state=state,
            previous=None if transitions[0].previous is None else _interleaved([transition.previous for transition in transitions]),
            origin=repeated.origin,
            condition=repeated.condition,
            reverse=kernel.at(self._temperatures(steps, batch.rows, like)),
        )
        return self.objective.loss(stack).view(batch.rows, len(steps))

    def _temperatures(self, steps: Sequence[int], rows: int, like: Tensor) -> float | Tensor:
        """T_k of every row, or one number where it is the same at all steps."""
        temperatures = self.chain.temperatures()
        if isinstance(temperatures, Tensor):
            return temperatures[[step - 1 for step in steps]].repeat(rows)
        chosen = [temperatures[step - 1] for step in steps]
        return chosen[0] if len(set(chosen)) == 1 else self._constant(chosen, like, rows=rows)

    def _constant(self, values: Sequence[float], like: Tensor, dtype: torch.dtype | None = None, rows: int = 1) -> Tensor:
        """Numbers on a device, for each of so many rows; sent there once, since a device that must be waited for cannot be graphed."""
        key = (tuple(values), like.device, dtype or like.dtype, rows)
        if key not in self._constants:
            if len(self._constants) > 4 * self.chain.steps:  # more than a walk needs: they differ from walk to walk
                self._constants.clear()
            self._constants[key] = torch.tensor(values, dtype=dtype or like.dtype, device=like.device).repeat(rows)
        return self._constants[key]


@torch.no_grad()
def why_not_stacked(model: Model, batch: Batch, source: Source) -> str | None:
    """Why the steps of this model are to be trained one at a time; None where they can be taken together.

    Arguments:
        model: The model; nothing in it changes.
        batch: Examples to try it with.
        source: Where the random numbers come from.
    """
    before = [(name, buffer, buffer.clone()) for name, buffer in model.named_buffers()]
    why = _why_not_together(model, batch, source)
    moved = [name for name, buffer, kept in before if not torch.equal(model.get_buffer(name), kept)]
    for name, buffer, kept in before:
        owner, _, key = name.rpartition(".")
        setattr(model.get_submodule(owner), key, buffer.copy_(kept))
    return f"{moved[0]} changes with every evaluation" if why is None and moved else why


def _why_not_together(model: Model, batch: Batch, source: Source) -> str | None:
    try:
        stacked = Stacked(model, comparing=True)
        with frozen_statistics(model):
            walk = stacked.walk(batch, source)
            if len(drawn := stacked.draw(walk)) < 2:
                return "a walk has one step, or a step fills the memory for many"
            while drawn:
                for column, (transition, _) in zip(stacked.together(drawn, batch).T, drawn, strict=True):
                    require_close("the loss", stacked.objective.loss(transition), column)
                drawn = stacked.draw(walk)
    except NotReplayable as reason:
        return str(reason)
    except Exception as error:  # whatever it is, it is raised again one step at a time, if it is the model's
        return f"{type(error).__name__}: {error}"
    return None


def _int_step(transition: Transition) -> int:
    if not isinstance(transition.k, int):
        raise NotReplayable("every example sits at a step of its own")
    if transition.log_ratio is not None:
        raise NotReplayable("steps come with their share of log w, whose gradient is that of one step")
    return transition.k


def _interleaved(states: Sequence[State]) -> State:
    """States of T steps as one, the rows of one example side by side."""
    if isinstance(states[0], Tensor):
        return interleaved(states)
    if len({len(state) for state in states}) > 1:
        raise NotReplayable("states differ in shape from step to step")
    return tuple(_interleaved(parts) for parts in zip(*states, strict=True))
