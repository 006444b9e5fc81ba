"""A tape does again what torch did, on the numbers of now; what would freeze a number that changes is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from chainkit.interleaving import NotReplayable
from chainkit.random import chance, normal
from chainkit.tape import Tape

CPU = torch.device("cpu")


def recorded(function):
    """A tape of a function of its generator."""
    tape = Tape(CPU)
    tape.record(lambda: function(tape.generator))
    return tape


def launched(tape, seed=0):
    tape.generator.manual_seed(seed)
    return tape.launch()


def test_a_launch_draws_and_computes_what_a_call_does():
    weight = torch.linspace(-1, 1, 12).view(3, 4)

    def function(source):
        noise = normal(torch.empty(5, 4), source)
        kept = torch.where(chance(noise, 0.25, source), noise, -noise)
        parts = (kept @ weight.T).relu().split(1, dim=1)
        return [torch.cat(parts, dim=1), torch.stack([part.sum() for part in parts]), None]

    tape = recorded(function)
    for seed in (1, 2):
        found, wanted = launched(tape, seed), function(torch.Generator().manual_seed(seed))
        assert torch.equal(found[0], wanted[0])
        assert torch.equal(found[1], wanted[1])
        assert found[2] is None


def test_what_was_there_before_is_read_and_written_where_it_stands():
    weight, count = torch.ones(2, 3), torch.zeros(())

    def function(_):
        count.add_(1)
        return [weight[1] * 2]

    tape = recorded(function)
    weight.fill_(3)
    assert launched(tape)[0].tolist() == [6, 6, 6]
    launched(tape)
    assert count.item() == 3


def test_gradients_of_several_ways_back_are_added_up():
    layer = nn.Linear(3, 2)

    def function(source):
        layer.zero_grad(set_to_none=True)
        total = torch.zeros(())
        for scale in (1.0, 2.0):
            loss = (layer(normal(torch.empty(4, 3), source)) * scale).square().mean()
            loss.backward()
            total = total + loss.detach()
        return [total, layer.weight.grad, layer.bias.grad]

    tape = recorded(function)
    with torch.no_grad():
        layer.weight.mul_(0.5)
    found = launched(tape, 3)
    layer.zero_grad(set_to_none=True)
    for one, other in zip(found, function(torch.Generator().manual_seed(3)), strict=True):
        assert torch.equal(one, other)


def test_results_are_ordinary_tensors_of_their_own():
    weight = torch.ones(2)
    tape = recorded(lambda _: [weight, weight + 1])
    first = launched(tape)
    first[0].zero_()
    first[1].requires_grad_().square().sum().backward()
    second = launched(tape)
    assert second[0].tolist() == [1, 1]
    assert second[1].tolist() == [2, 2]


def test_numbers_of_python_are_the_same_in_every_launch():
    def function(_):
        values = torch.tensor([1.0, 2.0])
        values.add_(1)
        return [values]

    tape = recorded(function)
    assert [launched(tape)[0].tolist() for _ in range(2)] == [[2, 3], [2, 3]]


def test_results_are_let_go_after_their_last_use():
    tape = recorded(lambda source: [normal(torch.empty(2), source).square().square().sum()])
    names = {line.split(" = ")[0].strip() for line in tape.source.splitlines() if " = f" in line}
    freed = {name for line in tape.source.splitlines() if "; " in line for name in line.split("; ")[1].split(" = ")[:-1]}
    kept = tape.source.splitlines()[-1]
    assert names
    assert {name for name in names if name not in freed} == {name for name in names if f"[{name}]" in kept}


WEIGHT = torch.linspace(-1, 1, 4)
READS = {
    "a number of what was drawn": lambda source: [torch.ones(2) * normal(WEIGHT, source).sum().item()],
    "a truth about what was drawn": lambda source: [torch.ones(2) if normal(WEIGHT, source)[0] > 0 else torch.zeros(2)],
    "a number of what was there before": lambda source: [torch.ones(2) * float(WEIGHT[0])],
    "a list": lambda source: [torch.tensor(normal(WEIGHT, source).tolist())],
    "an array": lambda source: [torch.from_numpy(np.sort(normal(WEIGHT, source).numpy()))],
    "an array that numpy asks for": lambda source: [torch.from_numpy(np.asarray(normal(WEIGHT, source)) + 1)],
    "an array without a copy": lambda source: [torch.from_numpy(np.from_dlpack(normal(WEIGHT, source)) + 1)],
    "a length": lambda source: [normal(WEIGHT, source)[normal(WEIGHT, source) > 0]],
    "where it is so": lambda source: [(normal(WEIGHT, source) > 0).nonzero()],
    "which there are": lambda source: [normal(WEIGHT, source).round().unique()],
    "what was written into another": lambda source: [torch.ones(2) * torch.zeros(4).copy_(normal(WEIGHT, source)).sum().item()],
    "a part of what was written into": lambda source: [written(normal(WEIGHT, source))],
    "a shape in place": lambda source: [normal(WEIGHT, source).unsqueeze_(0)],
    "another generator": lambda source: [normal(WEIGHT, torch.Generator().manual_seed(1))],
}


def written(values):
    """One number of a tensor whose parts are written one by one."""
    whole = torch.zeros(4, 2)
    for part in whole.unbind(1):
        part.copy_(values)
    return torch.ones(2) * whole.sum().item()


@pytest.mark.parametrize("function", READS.values(), ids=READS)
def test_what_may_change_cannot_be_read(function):
    with pytest.raises(NotReplayable):
        recorded(function)


@pytest.mark.parametrize("read", [lambda k: k.tolist(), lambda k: [int(k[0]), int(k[1])], lambda k: k.numpy().tolist()])
def test_what_python_has_said_can_be_read(read):
    def function(source):
        first, second = read(torch.arange(1, 3) * torch.tensor([1, 2]))
        return [normal(WEIGHT, source) * first + second]

    assert torch.equal(launched(recorded(function), 5)[0], function(torch.Generator().manual_seed(5))[0])


def test_whole_numbers_drawn_may_choose_rows():
    def function(source):
        chosen = torch.zeros(3, dtype=torch.long).random_(0, 4, generator=source)
        return [WEIGHT[chosen]]

    tape = recorded(function)
    assert all(torch.equal(launched(tape, seed)[0], function(torch.Generator().manual_seed(seed))[0]) for seed in range(4))
