"""What torch does on a CPU, noted once and done again without the Python in between.

A step of a small chain is a few products of a few microseconds; the modules, distributions and
recorders that they are called from take as long again. A tape notes every operation that reaches
torch's kernels, those of the way back among them, as one line of a function::

    v7 = f31(v6, g2)

Names with v are results, let go after their last use; those with g were there before, parameters and
the batch among them, and are read where they stand; those with f are torch's operations. Called,
the function does the same operations on the numbers of now.

What Python decides meanwhile is decided for good. So nothing may be read of a tensor that depends on
the batch, the parameters or a draw: a tape refuses to be recorded where that happens.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from chainkit.interleaving import NotReplayable

DETACH = torch.ops.aten.detach.default
LIFT = torch.ops.aten.lift_fresh.default
CLONE = torch.ops.aten.clone.default
INDEX = torch.ops.aten.index.Tensor
READS = (Tensor.tolist, Tensor.numpy, Tensor.__array__, Tensor.__dlpack__)
"""What reads the memory of a tensor past torch's operations."""

RESULT = re.compile(r"\bv\d+\b")


class Tape:
    """A graph of operations on a CPU.

    Arguments:
        device: A CPU.
        most: How many operations it may hold; without it any number.
    """

    exact = True  # a run that goes on where too little is left for a tape must be the one that was not stopped

    def __init__(self, device: torch.device, most: int | None = None) -> None:
        self.generator = torch.Generator(device)
        self.most = most
        self.source = ""

    def aside(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def record(self, function: Callable[[], Sequence[Tensor | None]]) -> None:
        notes = _Notes(self.generator, self.most)
        with _Reads(notes), notes:
            results = function()
        self.source = notes.source(results)
        exec(compile(self.source, "<tape>", "exec"), notes.given)
        self._launch: Callable[[], list[Tensor | None]] = notes.given["launch"]

    def launch(self) -> list[Tensor | None]:
        with torch.inference_mode():  # torch prepares nothing for a way back
            results = deque(self._launch())
        copied: list[Tensor | None] = []
        while results:  # each is let go once it is copied: together they are as large as the model
            result = results.popleft()
            copied.append(None if result is None else result.clone())
        return copied


class _Notes(TorchDispatchMode):
    """Writes operations down while they are done.

    Arguments:
        generator: The only one that may be drawn from.
        most: How many may be written down; None is any number.
    """

    def __init__(self, generator: torch.Generator, most: int | None) -> None:
        super().__init__()
        self.generator = generator
        self.most = most
        self.given: dict[str, Any] = {}
        self.lines: list[str] = []
        self._names = WeakIdKeyDictionary()
        self._results = 0
        self._changing: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        if func is LIFT:
            return self._constant(args[0])
        inputs = _tensors((args, kwargs))
        changes = self._draws(func, kwargs.get("generator")) or any(map(self.changes, inputs))
        _require_replayable(func, inputs, changes)
        given = all(self._name(tensor).startswith("g") for tensor in inputs)
        result = func(*args, **kwargs)
        for tensor in [*_tensors(result), *(inputs if func._schema.is_mutable else [])]:
            self._mark(tensor, changes)
        if func is DETACH:
            self._names[result] = self._names[args[0]]
        elif given and func.is_view and isinstance(result, Tensor):
            self._name(result)  # a view of what was there before was there, too
        elif _tensors(result) or func._schema.is_mutable:
            self._note(func, args, kwargs, result)
        return result

    def changes(self, tensor: Tensor) -> bool:
        """Whether it may hold other numbers in the next update: what was there before may, and what follows from it.

        Arguments:
            tensor: Any.
        """
        name = self._names.get(tensor)
        return name is None or name.startswith("g") or _place(tensor) in self._changing

    def _draws(self, func: Any, generator: torch.Generator | None) -> bool:
        # Every call sees a Python object of its own.
        if generator is not None and not torch.equal(generator.get_state(), self.generator.get_state()):
            raise NotReplayable("random numbers come from another generator than the walk's")
        return torch.Tag.nondeterministic_seeded in func.tags

    def source(self, results: Sequence[Tensor | None]) -> str:
        """The function, whose every launch gives the results.

        Arguments:
            results: Tensors, or None in the place of what there is not.
        """
        returned = f"[{', '.join(map(self._argument, results))}]"
        last = {name: number for number, line in enumerate(self.lines) for name in RESULT.findall(line)}
        free: dict[int, list[str]] = {}
        for name, number in last.items():
            if name not in RESULT.findall(returned):
                free.setdefault(number, []).append(name)
        body = [f"{line}; {' = '.join(free[number])} = None" if number in free else line for number, line in enumerate(self.lines)]
        return "\n    ".join(["def launch():", *body, f"return {returned}"])

    def _constant(self, tensor: Tensor) -> Tensor:
        """A tensor made of Python's numbers, which every launch begins with."""
        self._note(CLONE, (tensor.clone(),), {}, tensor)
        self._mark(tensor, False)
        return tensor

    def _note(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
        arguments = [*map(self._argument, args), *(f"{key}={self._argument(value)}" for key, value in kwargs.items())]
        if self.most is not None and len(self.lines) >= self.most:
            raise NotReplayable(f"an update has more than {self.most} operations")
        call = f"{self._keep(func._op, 'f')}({', '.join(arguments)})"  # which func would call in its turn
        tensors = result if isinstance(result, (tuple, list)) else [result]
        fresh = [isinstance(tensor, Tensor) and tensor not in self._names for tensor in tensors]
        targets = [self._result(tensor) if new else "_" for tensor, new in zip(tensors, fresh, strict=True)]
        unpacked = ", ".join(targets) + ("," if isinstance(result, (tuple, list)) else "")
        self.lines.append(f"{unpacked} = {call}" if any(fresh) else call)

    def _mark(self, tensor: Tensor, changes: bool) -> None:
        """Notes of the memory of a tensor whether its numbers may change."""
        (self._changing.add if changes else self._changing.discard)(_place(tensor))

    def _name(self, tensor: Tensor) -> str:
        if tensor not in self._names:
            self._names[tensor] = self._keep(tensor, "g")
        return str(self._names[tensor])

    def _result(self, tensor: Tensor) -> str:
        self._results += 1
        self._names[tensor] = f"v{self._results}"
        return f"v{self._results}"

    def _keep(self, value: Any, kind: str) -> str:
        name = f"{kind}{len(self.given)}"
        self.given[name] = value
        return name

    def _argument(self, value: Any) -> str:
        if isinstance(value, (list, tuple)):
            return f"[{', '.join(map(self._argument, value))}]"
        if isinstance(value, Tensor):
            return self._name(value)
        return repr(value) if value is None or isinstance(value, (bool, int)) else self._keep(value, "g")


class _Reads(TorchFunctionMode):
    """Refuses :data:`READS` of what may change.

    Arguments:
        notes: Knows which may change.
    """

    def __init__(self, notes: _Notes) -> None:
        super().__init__()
        self.notes = notes

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        if func in READS and self.notes.changes(args[0]):
            raise NotReplayable(f"{func.__name__} reads numbers that may change from update to update")
        return func(*args, **(kwargs or {}))


def _require_replayable(func: Any, inputs: Sequence[Tensor], changes: bool) -> None:
    if torch.Tag.inplace_view in func.tags:
        raise NotReplayable(f"{func} changes the shape of a tensor in place")
    if func is INDEX:  # by numbers it gives as many rows as there are numbers
        tells = any(index.dtype in (torch.bool, torch.uint8) for index in inputs[1:])
    else:
        tells = torch.Tag.data_dependent_output in func.tags or torch.Tag.dynamic_output_shape in func.tags
    if tells and changes:
        raise NotReplayable(f"{func} reads a number that may change from update to update")


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
