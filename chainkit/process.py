"""Forward processes: how the states that an operator is trained on are made."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torch import nn

from chainkit.batch import Batch
from chainkit.random import Source
from chainkit.transition import Transition

if TYPE_CHECKING:
    from chainkit.chain import Chain


class ForwardProcess(nn.Module, ABC):
    """q(s_1..s_K | x), walked one transition at a time.

    A walk evaluates the operator once per state and holds nothing of the steps before, so that
    memory does not grow with K as long as its consumer lets go of each transition.
    """

    @abstractmethod
    def walk(
        self, chain: Chain, batch: Batch, *, source: Source = None, path_gradient: bool = False, with_log_ratio: bool = False
    ) -> Iterator[Transition]:
        """One complete walk for each example.

        Arguments:
            chain: The generative chain; its operator is evaluated once per state.
            batch: The examples, one walk each.
            source: Where the random numbers come from.
            path_gradient: Keep the gradient through the draws (reparametrised), for objectives
                that need the whole path; otherwise every state is detached.
            with_log_ratio: Fill in ``Transition.log_ratio``.

        Yields:
            One transition for each k in 1..K, in the process's own order. The states of the next
            step are drawn from the kernel as it was before whatever the consumer does with the
            present one.
        """
