r"""Says how far the weights moved.

.. math:: \lVert \theta - \theta' \rVert / \lVert \theta' \rVert

theta' the weights when it last said so. An observer watches: it returns nothing and never changes training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor
from torch.nn.utils import parameters_to_vector

import chainkit
from chainkit import Context
from chainkit_placeholder.configs import ObserverConfig

if TYPE_CHECKING:
    from chainkit.run import Run


class Drift:
    """Watches one run.

    Arguments:
        every: Epochs between two lines, 1 or more.
    """

    def __init__(self, every: int) -> None:
        self.every = every
        self.before: Tensor | None = None

    @chainkit.hookimpl
    def chainkit_run_start(self, run: Run) -> None:
        """Keeps the weights that training, or its continuation, starts from."""
        self.before = weights(run)

    @chainkit.hookimpl
    def chainkit_epoch_end(self, run: Run) -> None:
        """Says how far they moved since."""
        if self.before is not None and run.epoch % self.every == 0:
            now = weights(run)
            moved = float((now - self.before).norm() / self.before.norm())
            run.say(f"epoch {run.epoch}: the weights moved by {moved:.1%} of their norm")
            self.before = now


def weights(run: Run) -> Tensor:
    """All weights of the model, one after another, a copy."""
    return parameters_to_vector(run.model.parameters()).detach().clone()


def build(config: ObserverConfig, context: Context) -> Drift:
    """The observer that a recipe describes."""
    return Drift(config.every)
