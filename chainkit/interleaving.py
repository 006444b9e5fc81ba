"""Tensors of many steps as one, the rows of one example side by side.

They are copied step by step, while they are in the caches of the processor: bringing T of them together
afterwards reads each from memory once more.
"""

from __future__ import annotations

from torch import Tensor

from chainkit.states import State, map_state, tensors


class NotReplayable(Exception):
    """The steps of a walk cannot be evaluated together; says why."""


class Interleaved:
    """T states of tensors [B, ...] as one of tensors [B T, ...].

    Arguments:
        most: Largest T; other than T, it costs one more copy.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.length = 0
        self._together: State = None
        self._places: list[tuple[Tensor, ...]] = []

    def add(self, state: State) -> None:
        """Copies the state of the next step.

        Raises:
            NotReplayable: It differs in shape from those before.
        """
        if self.length == 0:
            self._together = map_state(lambda values: values.new_empty(len(values), self.most, *values.shape[1:]), state)
            self._places = [values.unbind(1) for values in tensors(self._together)]
        given = tensors(state)
        if len(given) != len(self._places):
            raise NotReplayable("states differ in their parts from step to step")
        for places, values in zip(self._places, given, strict=True):
            place = places[self.length]
            if place.shape != values.shape:
                raise NotReplayable("states differ in shape from step to step")
            place.copy_(values)
        self.length += 1

    def together(self) -> State:
        """All of them; not copied if there are ``most``."""
        if self.length == self.most:
            return map_state(lambda values: values.flatten(0, 1), self._together)
        return map_state(lambda values: values[:, : self.length].flatten(0, 1), self._together)
