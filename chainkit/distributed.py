"""Several processes on one run, under torch's own launcher (``torchrun``).

Every process builds the same model and makes the same updates. They share out the rows of each
batch, and meet once per update: the sum of their gradients is that of the whole batch. The first
process, the *leader*, alone writes to the run directory, calls plugins' hooks and speaks.

:func:`current` tells who works together on what is being done. It is :data:`ALONE` in a run of one
process, and within what one process does while the others wait for it; there, every sum is what
was put in, and every share the whole.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import attrs
import torch
import torch.distributed as dist
from torch import Tensor

from chainkit.board import Board, connected
from chainkit.errors import ChainkitError, RecipeError
from chainkit.interrupt import deferring
from chainkit.random import Share, Source

T = TypeVar("T")


@attrs.frozen
class Group:
    """Processes that work together.

    Arguments:
        rank: Which of them this one is, 0 up to ``size`` - 1.
        size: How many they are, at least 1.
        local: Which of those on its machine this one is, from 0.
        board: Where they leave messages; None where there is one process.
    """

    rank: int = 0
    size: int = 1
    local: int = 0
    board: Board | None = None

    @property
    def leads(self) -> bool:
        """Whether this process writes and speaks."""
        return self.rank == 0

    def part(self, rows: int) -> range:
        """Which rows of a batch are this process's; all get as many, or one more or less.

        Arguments:
            rows: Rows of the whole batch.
        """
        return range(rows * self.rank // self.size, rows * (self.rank + 1) // self.size)

    def source(self, generator: torch.Generator, rows: int) -> Source:
        """Random numbers for this process's rows: those that they have in the whole batch.

        Arguments:
            generator: Where the whole batch draws from.
            rows: Rows of the whole batch.
        """
        return generator if self.size == 1 else Share(generator, self.part(rows), rows)

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum of the tensors of all processes, the same bits in each; without a gradient.

        Arguments:
            tensor: As many numbers as in the other processes.

        Raises:
            ProcessLostError: Another process has ended.
        """
        if self.size == 1:
            return tensor
        summed = tensor.detach().clone(memory_format=torch.contiguous_format)
        with connected():
            dist.all_reduce(summed)
        return summed

    def total(self, tensor: Tensor) -> Tensor:
        """The sum of the tensors of all processes, with a gradient: that of the sum of all their losses.

        Arguments:
            tensor: As many numbers as in the other processes.
        """
        return tensor if self.size == 1 else _Total.apply(tensor, self)

    def everyones(self, own: T) -> list[T]:
        """What every process has to say, by rank; each waits for the others, however long they take.

        Arguments:
            own: What this one has; it is pickled.

        Raises:
            ProcessLostError: Another process has ended.
        """
        if self.board is None:
            return [own]
        found = self.board.exchange(own, self.rank, self.size)
        found[self.rank] = own
        return found


ALONE = Group()
_current = ALONE


def current() -> Group:
    """The processes that work together on what is being done."""
    return _current


@contextmanager
def working_as(group: Group) -> Iterator[None]:
    """Within it, these processes work together; signals are put off where they must agree on when to stop.

    Arguments:
        group: The processes.
    """
    global _current
    before, _current = _current, group
    try:
        with deferring(group.size > 1):
            yield
    finally:
        _current = before


@contextmanager
def joined() -> Iterator[Group]:
    """Joins the other processes that torch's launcher has started, if it has; leaves them at the end.

    Each computes on the CUDA device that its number on the machine gives, where there is one. An
    error that all processes share ends all of them, and is raised by the leader alone.

    Raises:
        RecipeError: The environment says how many they are, and not which this one is and where the others are.
        ProcessLostError: The others cannot be reached, or one of them has ended.
        SystemExit: In the others, with the exit code of such an error.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ALONE
        return
    if missing := [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]:
        raise RecipeError(f"WORLD_SIZE: is {size} without {', '.join(missing)}; start several processes by torchrun, or unset it")
    rank, local = int(os.environ["RANK"]), int(os.environ.get("LOCAL_RANK", "0"))
    with connected():
        store, *_ = next(dist.rendezvous("env://", rank, size))
        dist.init_process_group(_backend(local, size), store=dist.PrefixStore("sums", store), rank=rank, world_size=size)
    board = Board(dist.PrefixStore("board", store))
    group = Group(rank=rank, size=size, local=local, board=board)
    try:
        with board.beating(rank), working_as(group):
            yield group
        _part(group)
    except ChainkitError as error:
        if not _shared(error):
            raise
        _part(group)
        if group.leads:
            raise
        raise SystemExit(error.exit_code) from error
    finally:
        dist.destroy_process_group()


def _part(group: Group) -> None:
    """Lets nobody go before all have read the last message, whose store may go with one of them."""
    group.sum(torch.zeros(1))


def _backend(local: int, size: int) -> str:
    """NCCL where each process has a CUDA device of its own, else gloo."""
    devices = torch.cuda.device_count()
    if devices:
        torch.cuda.set_device(local % devices)
    return "cpu:gloo,cuda:nccl" if devices >= int(os.environ.get("LOCAL_WORLD_SIZE", size)) else "gloo"


def own_device(device: torch.device) -> torch.device:
    """This process's device of a kind: among several processes, CUDA without a number is the one given to it.

    Arguments:
        device: The device that a recipe means.
    """
    if device.type == "cuda" and device.index is None and dist.is_initialized():
        return torch.device("cuda", torch.cuda.current_device())
    return device


@attrs.frozen
class _Outcome(Generic[T]):
    """What became of something: a value, or an error that is meant for the user."""

    value: T | None = None
    error: Exception | None = None

    @classmethod
    def of(cls, function: Callable[[], T]) -> _Outcome[T]:
        with working_as(ALONE):
            try:
                return cls(value=function())
            except (ChainkitError, OSError) as error:
                return cls(error=error)


def _agreed(outcomes: Sequence[_Outcome[T]]) -> list[T]:
    """The values, where nothing went wrong anywhere; else the first error, raised by every process."""
    for outcome in outcomes:
        if outcome.error is not None:
            raise shared(outcome.error)
    return [outcome.value for outcome in outcomes]  # type: ignore[misc]


def shared(error: Exception) -> Exception:
    """Marks an error as one that every process raises.

    Arguments:
        error: The error.
    """
    error.__dict__["_shared"] = True
    return error


def _shared(error: Exception) -> bool:
    return "_shared" in error.__dict__


def lead(function: Callable[[], T]) -> T:
    """What the leader does alone, while the others wait: their return value is its own, sent to them.

    Arguments:
        function: What it does; its value is pickled.

    Raises:
        ChainkitError: The function raised it; every process raises it then.
        OSError: The same.
    """
    if _current.size == 1:
        return function()
    outcome = _Outcome.of(function) if _current.leads else _Outcome[T]()
    return _agreed(_current.everyones(outcome)[:1])[0]


def each(functions: Sequence[Callable[[], T]]) -> list[T]:
    """What functions return that do not need each other: every process calls one of them.

    Arguments:
        functions: As many as there are processes, or fewer; their values are pickled.

    Raises:
        ChainkitError: One of them raised it; every process raises it then.
        OSError: The same.
    """
    if _current.size == 1:
        return [function() for function in functions]
    mine = functions[_current.rank] if _current.rank < len(functions) else None
    outcome = _Outcome[T]() if mine is None else _Outcome.of(mine)
    return _agreed(_current.everyones(outcome)[: max(1, len(functions))])


def in_turn(function: Callable[[], T]) -> T:
    """What every process does for itself, the first on each machine before the others: what it leaves on a disk is there for them.

    Arguments:
        function: What each does.

    Raises:
        ChainkitError: It was raised in one of them; every process raises it then.
        OSError: The same.
    """
    group, found = _current, _Outcome[T]()
    for turn in (True, False) if group.size > 1 else ():
        if turn == (group.local == 0):
            found = _Outcome.of(function)
        _agreed(group.everyones(_Outcome[None](error=found.error)))
    return function() if group.size == 1 else _agreed([found])[0]


class _Total(torch.autograd.Function):
    """Sums over processes; so does the gradient, which makes it a sum over processes itself."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, group: Group) -> Tensor:
        ctx.group = group
        return group.sum(tensor)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.group.total(gradient), None
