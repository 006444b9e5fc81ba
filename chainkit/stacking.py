"""The steps of a walk, trained as one batch.

A :class:`~chainkit.objective.LocalObjective` asks for no gradient from one step to another: the
walk may be drawn first, without a graph, and the loss of many of its steps taken together. Each
network evaluation still happens once (:mod:`chainkit.replay`), on the states and draws of a step by
step walk. Memory is that of a chunk of steps, whatever the length of the chain.

Whether a model can be trained so is found out, not declared: before the first update its steps are
evaluated together and one at a time, and every layer's input and every loss must be the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import count

import torch
from torch import Tensor

from chainkit.batch import Batch
from chainkit.build import Model
from chainkit.distributed import lead
from chainkit.interleaving import Interleaved, NotReplayable
from chainkit.modes import frozen_statistics
from chainkit.objective import LocalObjective, Loss
from chainkit.random import Source
from chainkit.replay import Evaluation, Record, Recorder, require_close
from chainkit.states import tensors
from chainkit.transition import Transition

CHUNK_BYTES = 21_500_000
"""Largest memory of the states of one chunk of steps and of the layers' outputs at them; twice as much gains 1 % of a step."""


class Chunk:
    """Steps that were drawn without a graph. Of their distributions nothing is kept: the evaluation of all steps gives them again.

    Arguments:
        most: How many there can be.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.steps: list[int] = []
        self.weights: list[float] = []
        self.length = 0
        self.record = Record(most)
        self.previous: Interleaved | None = None

    @property
    def full(self) -> bool:
        """Whether no step can be added."""
        return len(self.steps) >= self.most

    def add(self, transition: Transition, evaluation: Evaluation) -> None:
        """Adds a step and the evaluation at its state.

        Raises:
            NotReplayable: It cannot be taken together with the others.
        """
        if not isinstance(transition.k, int):
            raise NotReplayable("every example sits at a step of its own")
        if transition.log_ratio is not None:
            raise NotReplayable("steps come with their share of log w, whose gradient is that of one step")
        if not self.steps:
            self.length = transition.steps
            self.previous = None if transition.previous is None else Interleaved(self.most)
        if (self.previous is None) != (transition.previous is None):
            raise NotReplayable("the walk has drawn s_{k-1} of some steps only")
        self.record.add(evaluation)
        if self.previous is not None:
            self.previous.add(transition.previous)
        self.steps.append(transition.k)
        self.weights.append(transition.weight)


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
        self._sizes: list[int] = []
        self._constants: dict[tuple[object, ...], Tensor] = {}

    def losses(self, batch: Batch, source: Source) -> Iterator[Loss]:
        """The losses of ``LocalObjective.losses``, those of a chunk of steps in one.

        Arguments:
            batch: The examples.
            source: Where the random numbers come from.
        """
        walk = self.walk(batch, source)
        with self.recorder.unchanged():
            for chunk in self.chunks(walk):
                losses = self.together(chunk, batch)
                weights = self._constant(chunk.weights, losses)
                yield Loss(value=(losses.mean(0) * weights).sum())  # no product of vectors: autocast would round it to bfloat16
                del chunk, losses

    def chunks(self, walk: Iterator[Transition]) -> Iterator[Chunk]:
        """The steps of a walk, as many at a time as memory is set aside for.

        Raises:
            NotReplayable: They cannot be taken together.
        """
        for number in count():
            chunk = self._draw(walk, number)
            if chunk is None:
                return
            yield chunk
            del chunk

    def walk(self, batch: Batch, source: Source) -> Iterator[Transition]:
        """The steps to train on."""
        return self.objective.transitions(self.chain, self.process, batch, source)

    @torch.no_grad()
    def _draw(self, walk: Iterator[Transition], number: int) -> Chunk | None:
        """The next steps of a walk; None at its end."""
        chunk: Chunk | None = None
        # Running statistics are moved where all steps are evaluated together.
        with self.recorder.recording() as evaluations, frozen_statistics(self.chain.operator):
            for transition in walk:
                found = [evaluation for evaluation in evaluations if evaluation.state is transition.state]
                if not found:
                    raise NotReplayable("the operator was not evaluated at the state of the step")
                evaluations.clear()
                chunk = chunk or Chunk(self._size(found[-1], number))
                chunk.add(transition, found[-1])
                if chunk.full:
                    break
        return chunk

    def _size(self, evaluation: Evaluation, number: int) -> int:
        """How many steps a chunk of a walk holds, the same in all processes: their statistics are those of the same steps.

        Those of a whole walk are about equally many.
        """
        if not self._sizes:
            most, steps = max(1, lead(lambda: CHUNK_BYTES // max(1, evaluation.bytes))), self.chain.steps
            chunks = math.ceil(steps / most)
            self._sizes = [(steps + chunk) // chunks for chunk in range(chunks)]
        return self._sizes[number % len(self._sizes)]

    def together(self, chunk: Chunk, batch: Batch) -> Tensor:
        """The losses [B, T] of T steps.

        Arguments:
            chunk: The steps; what the layers gave is taken out of it.
            batch: The examples.

        Raises:
            NotReplayable: They cannot be taken together.
        """
        steps = chunk.steps
        repeated, state = batch.repeat(len(steps)), chunk.record.states.together()
        like = tensors(state)[0]
        k = self._constant(steps, like, torch.int64, batch.rows)
        with self.recorder.replaying(chunk.record):
            kernel = self.chain.operator(state, k, repeated.condition)
        stack = Transition(
            k=k,
            steps=chunk.length,
            state=state,
            previous=None if chunk.previous is None else chunk.previous.together(),
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

        def made() -> Tensor:
            return torch.tensor(values, dtype=dtype or like.dtype, device=like.device).repeat(rows)

        if like.device.type == "cpu":  # kept ones would lie between the large blocks of memory, and hold them apart
            return made()
        key = (tuple(values), like.device, dtype or like.dtype, rows)
        if key not in self._constants:
            if len(self._constants) > 4 * self.chain.steps:  # more than a walk needs: they differ from walk to walk
                self._constants.clear()
            self._constants[key] = made()
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
            alone: list[Tensor] = []
            walk = _noting(alone, stacked.objective, stacked.walk(batch, source))
            longest = 0
            for chunk in stacked.chunks(walk):
                for before, column in zip(alone, stacked.together(chunk, batch).T, strict=True):
                    require_close("the loss", before, column)
                alone.clear()
                longest = max(longest, len(chunk.steps))
            if longest < 2:
                return "a walk has one step, or a step fills the memory for many"
    except NotReplayable as reason:
        return str(reason)
    except Exception as error:  # whatever it is, it is raised again one step at a time, if it is the model's
        return f"{type(error).__name__}: {error}"
    return None


def _noting(losses: list[Tensor], objective: LocalObjective, walk: Iterator[Transition]) -> Iterator[Transition]:
    """A walk whose losses, one step at a time, are added to a list."""
    for transition in walk:
        losses.append(objective.loss(transition))
        yield transition
