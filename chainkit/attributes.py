"""What Python keeps in a model from one update to the next, to see whether it changes.

A graph does again what torch did while it was recorded (:mod:`chainkit.graphs`). A rate that is
annealed, a count of calls, a layer that is put in the place of another would stay what they were
then. Trials with a few batches do not find that; looking at what holds such things does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from operator import getitem, is_
from types import CellType, FunctionType, MemberDescriptorType, MethodType, ModuleType
from typing import Any

import attrs
from torch import Tensor, nn

PLAIN = (bool, int, float, complex, str, bytes, type(None))
"""Values that are what they are equal to; others are looked at where they stand."""

OWN = ("_parameters", "_buffers", "_modules")
"""Dicts in which a module keeps what is called by the module's name alone."""

MISSING = (LookupError, AttributeError, ValueError)
"""What reading an attribute that is gone raises, a closed over variable among them."""

FOREIGN = ("builtins", "numpy", "torch")
"""Packages whose objects, modules aside, are not looked into."""


@attrs.frozen
class Slots:
    """Attributes that stand in no dict, read as from one.

    Arguments:
        owner: Whose they are.
    """

    owner: object

    def __getitem__(self, name: str) -> Any:
        return getattr(self.owner, name)


class Attributes:
    """The attributes of an object and of all that it holds, as they are now.

    Looked into are modules and other objects, the numbers and words that their classes hold, dicts,
    lists, tuples and what functions close over. Of a tensor counts which one it is and where its numbers
    lie, not the numbers.

    Arguments:
        root: The object.
    """

    def __init__(self, root: object) -> None:
        self._seen: dict[int, object] = {}  # kept, so that no other object takes the number of one
        self._holders: list[tuple[str, Any]] = []
        self._names: list[str] = []
        self._places: list[Any] = []
        self._keys: list[Any] = []
        self._values: list[Any] = []
        self._tensors: list[tuple[str, Tensor]] = []
        self._look(root, "")
        self._sizes = self._measured()
        self._memory = self._located()

    def changed(self) -> str | None:
        """The name of an attribute that is not what it was; None where all are."""
        if self._measured() == self._sizes and self._same() and self._located() == self._memory:
            return None
        return next(self._differences(), None)

    def _same(self) -> bool:
        """Whether every attribute is the very object that it was: a look that takes microseconds."""
        try:
            return all(map(is_, map(getitem, self._places, self._keys), self._values))
        except MISSING:
            return False

    def _differences(self) -> Iterator[str]:
        for (name, _), before, now in zip(self._holders, self._sizes, self._measured(), strict=True):
            if before != now:
                yield name
        for name, place, key, value in zip(self._names, self._places, self._keys, self._values, strict=True):
            if not _is_still(place, key, value):
                yield name
        for (name, _), before, now in zip(self._tensors, self._memory, self._located(), strict=True):
            if before != now:
                yield name

    def _measured(self) -> list[int]:
        return [len(holder) for _, holder in self._holders]

    def _located(self) -> list[int]:
        return [tensor.data_ptr() for _, tensor in self._tensors]

    def _look(self, value: object, name: str) -> None:
        if isinstance(value, PLAIN) or id(value) in self._seen:
            return
        self._seen[id(value)] = value
        if isinstance(value, Tensor):
            self._tensors.append((name, value))
        for holder, keys in _contents(value):
            if not isinstance(holder, (Slots, tuple)):  # whose size stays
                self._holders.append((name, holder))
            self._note(holder, keys, name)

    def _note(self, holder: Any, keys: Iterable[Any], name: str) -> None:
        for key in keys:
            inner, path = holder[key], name if key in OWN else f"{name}.{key}".lstrip(".")
            self._names.append(path)
            self._places.append(holder)
            self._keys.append(key)
            self._values.append(inner)
            self._look(inner, path)


def _is_still(holder: Any, key: Any, value: object) -> bool:
    try:
        now = holder[key]
    except MISSING:
        return False
    return now is value or (isinstance(value, PLAIN) and type(now) is type(value) and now == value)


def _contents(value: Any) -> Iterator[tuple[Any, Sequence[Any]]]:
    """What holds the attributes of a value, with their names."""
    if isinstance(value, (set, frozenset)):
        yield value, ()
    elif isinstance(value, dict):
        yield value, list(value)
    elif isinstance(value, (list, tuple, deque)):
        yield value, range(len(value))
    elif isinstance(value, FunctionType):
        for cell in filter(CellType().__ne__, value.__closure__ or ()):  # those that hold something
            yield Slots(cell), ("cell_contents",)
    elif isinstance(value, MethodType):
        yield Slots(value), ("__self__",)
    elif isinstance(value, partial):
        yield Slots(value), ("func", "args", "keywords")
    elif isinstance(value, nn.Module) or not (isinstance(value, (type, ModuleType)) or _is_foreign(type(value))):
        yield from _attributes(value)


def _attributes(value: object) -> Iterator[tuple[Any, Sequence[Any]]]:
    if hasattr(value, "__dict__"):
        yield vars(value), list(vars(value))
    for kind in type(value).__mro__:
        if not _is_foreign(kind):
            yield (
                Slots(value),
                [name for name, found in vars(kind).items() if isinstance(found, MemberDescriptorType) and hasattr(value, name)],
            )
            yield vars(kind), [name for name, found in vars(kind).items() if isinstance(found, PLAIN) and not name.startswith("__")]


def _is_foreign(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in FOREIGN
