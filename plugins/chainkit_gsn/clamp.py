r"""Conditional sampling: known pixels are held at their values while the chain draws the others.

At every step the known pixels of x are put back and corrupted like all others, then the network is
evaluated (chapter 20.11.2 of Goodfellow, Bengio and Courville):

.. math:: x_f \sim p(x_f | \tilde x), \qquad \tilde x_o \sim C(\cdot | x_o), \quad \tilde x_f \sim C(\cdot | x_f)

This chain settles in the conditional law of the data where reconstructions are exact posteriors and
x_f and x_o are independent given x~ (as they are for a product over elements): the step is then
Gibbs sampling with x_o fixed. Exact posteriors that are no product, or products that are no exact
posteriors, leave an error of the order of the corruption's rate.
"""

from __future__ import annotations

import torch
from torch import Tensor

from chainkit.chain import Clamp
from chainkit.random import Source
from chainkit.states import State
from chainkit_gsn.corruption import Corruption


def hold_known(corruption: Corruption, mask: Tensor, value: Tensor, source: Source = None) -> Clamp:
    """A clamp for ``Chain.sample`` that holds known pixels, in x at their values and in s_k, k >= 1, corrupted.

    Arguments:
        corruption: C(x~ | x), the operator's own.
        mask: Boolean, [*event] or [n, *event], true where the value is known.
        value: The known values, broadcastable to x, in model units.
        source: Where the random numbers of the corruption come from; not that of the chain itself,
            unless their order is of no account.
    """

    def hold(state: State, k: int) -> State:
        visible = state if isinstance(state, Tensor) else state[0]
        known = value.expand_as(visible)
        held = torch.where(mask, known if k == 0 else corruption.corrupt(known, source), visible)
        return held if isinstance(state, Tensor) else (held, *state[1:])

    return hold
