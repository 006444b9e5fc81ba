"""Tensors of many steps as one, the rows of one example side by side.

They are copied step by step, while they are in the caches of the processor: bringing T of them together
afterwards reads each from memory once more.
"""

from __future__ import annotations

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
        self._places: State = None

    def add(self, state: State) -> None:
        """Copies the state of the next step.

        Raises:
            NotReplayable: It differs in shape from those before.
        """
        if self.length == 0:
            self._places = map_state(lambda values: values.new_empty(len(values), self.most, *values.shape[1:]), state)
        places = [place.select(1, self.length) for place in tensors(self._places)]
        if [place.shape for place in places] != [values.shape for values in tensors(state)]:
            raise NotReplayable("states differ in shape from step to step")
        for place, values in zip(places, tensors(state), strict=True):
            place.copy_(values)
        self.length += 1

    def together(self) -> State:
        """All of them; not copied if there are ``most``."""
        return map_state(lambda place: place.narrow(1, 0, self.length).flatten(0, 1), self._places)
