"""Networks: heads of the state's shape, in every precision, for every way to give the step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from chainkit.network import Network
from chainkit.testing.expect import expect, expect_close, expect_tensor, expect_type, own_draws
from chainkit.testing.modules import check_gradients, check_precisions, check_round_trip, check_rows
from chainkit.testing.resume import check_resume


def check_network(network: Network, state: Tensor, *, steps: int, heads: int = 1, condition: Any = None, where: str = "network") -> None:
    """Checks a network.

    Arguments:
        network: The network, float32; left in evaluation mode, with other biases in its heads.
        state: Two states or more, [B, *event], float32, on the network's device.
        steps: K.
        heads: Number of heads that it must give.
        condition: Labels, a LongTensor [B], or None.
        where: Name for messages.

    Raises:
        AssertionError: It breaks what :class:`chainkit.network.Network` promises.
    """
    expect_type(network, Network, where)

    def evaluate(module: Any, state: Any, k: Any, condition: Any) -> tuple[Tensor, ...]:
        maps: tuple[Tensor, ...] = module(state, k, condition)
        return maps

    for k in sorted({1, steps}):
        with own_draws(f"{where}, trained at k = {k}"):
            maps = evaluate(network.train(), state, k, condition)
        expect(isinstance(maps, tuple) and len(maps) == heads, where, f"a tuple of {heads} heads", maps)
        for head in maps:
            expect_tensor(head, tuple(state.shape), f"{where}, a head at k = {k}")
        check_gradients(network, torch.stack([head.square().mean() for head in maps]).sum(), f"{where}, trained at k = {k}")

    def backward(module: Any, update: int) -> None:
        torch.stack([head.square().mean() for head in evaluate(module, state, update % steps + 1, condition)]).sum().backward()

    check_resume(network, backward, where)
    check_rows(network, evaluate, state, steps, condition, where)
    check_precisions(network, evaluate, state, 1, condition, where, wide=False)
    check_round_trip(network, evaluate, state, steps, condition, where)
    _check_biases(network, state, condition, where)


@torch.no_grad()
def _check_biases(network: Network, state: Tensor, condition: Any, where: str) -> None:
    """Biases that differ by 1 give heads that differ by 1; None leaves a head as it is."""
    zero = torch.zeros_like(state[0])
    count = len(network(state, 1, condition))
    network.bias_heads([zero] * count)
    before = network(state, 1, condition)
    network.bias_heads([zero + 1, *[None] * (count - 1)])
    after = network(state, 1, condition)
    expect_close(after[0], before[0] + 1, f"{where}.bias_heads, the head that was set")
    for left, kept in zip(after[1:], before[1:], strict=True):
        expect_close(left, kept, f"{where}.bias_heads, a head left as it was")
