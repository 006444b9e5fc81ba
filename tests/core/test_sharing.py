"""What processes share out: rows and their draws, the work of a figure, and what cannot be shared at all."""

from __future__ import annotations

import os
import signal

import attrs
import pytest
import torch
from torch import nn

from chainkit.capabilities import WholeBatch
from chainkit.distributed import ALONE, Group, current, each, in_turn, joined, lead, working_as
from chainkit.distributions import Wrapped
from chainkit.errors import Interrupted, ProcessLostError, RecipeError
from chainkit.interrupt import handling_signals, poll
from chainkit.random import Rows, Share, common, integers, normal, seeded, uniform
from chainkit.sharing import require_same, require_shareable, sum_gradients, sum_metrics
from chainkit_networks import SharedBatchNorm, StepBatchNorm


@attrs.frozen
class Twins(Group):
    """Two processes, the other of which has the same numbers and messages, but for some."""

    other: dict = attrs.field(factory=dict)

    def sum(self, tensor):
        return 2 * tensor.detach()

    def everyones(self, own):
        return [own, {**own, **self.other}]


TWINS = Twins(rank=0, size=2)


@pytest.mark.parametrize(("rows", "size"), [(25, 3), (3, 3), (64, 2), (7, 1), (100, 8)])
def test_the_parts_are_the_batch_and_differ_by_one_row_at_most(rows, size):
    parts = [Group(rank=rank, size=size).part(rows) for rank in range(size)]
    assert [row for part in parts for row in part] == list(range(rows))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("draw", [normal, uniform])
def test_a_share_of_the_draws_is_that_of_the_whole_batch(draw, times):
    whole = draw(torch.empty(7 * times, 5), seeded("cpu", 0))
    for part in (range(2), range(2, 6), range(6, 7)):
        share = Share(seeded("cpu", 0), part, 7)
        like = torch.empty(len(part) * times, 5)
        assert torch.equal(draw(like, share), whole[part.start * times : part.stop * times])


def test_after_a_draw_all_shares_are_at_the_same_place():
    sources = [seeded("cpu", 0), *(Share(seeded("cpu", 0), part, 7) for part in (range(3), range(3, 7)))]
    for source, rows in zip(sources, (7, 3, 4), strict=True):
        integers(1, 9, rows, "cpu", source)
    assert len({float(uniform(torch.empty(1), common(source))) for source in sources}) == 1


def test_a_share_fills_no_other_number_of_rows():
    with pytest.raises(ValueError, match="a source for 3 rows cannot fill 4 rows"):
        normal(torch.empty(4), Share(seeded("cpu", 0), range(3), 7))


def test_rows_of_their_own_have_nothing_in_common():
    with pytest.raises(ValueError, match="no draw in common"):
        common(Rows([seeded("cpu", 0)]))


def test_what_draws_from_a_generator_of_its_own_cannot_be_shared():
    wrapped = Wrapped(torch.distributions.Normal(torch.zeros(3, 1), 1.0))
    with pytest.raises(ValueError, match="cannot be drawn row by row"):
        wrapped.sample(Share(seeded("cpu", 0), range(3), 7))


def test_gradients_are_summed_and_what_nobody_reached_keeps_none():
    reached, other = nn.Parameter(torch.ones(2, 3)), nn.Parameter(torch.ones(4))
    loss = (3 * reached).sum()
    loss.backward()
    with working_as(TWINS):
        assert float(sum_gradients([reached, other], loss.detach())) == 36
    assert torch.equal(reached.grad, torch.full((2, 3), 6.0))
    assert other.grad is None


def test_metrics_are_those_of_the_whole_batch():
    with working_as(TWINS):
        found = sum_metrics({"a": [torch.tensor(3.0)], "b": [torch.tensor(1.0), torch.tensor(5.0)]}, 0.5)
    assert {name: [float(number) for number in numbers] for name, numbers in found.items()} == {"a": [3.0], "b": [1.0, 5.0]}


class Coupled(nn.Module, WholeBatch):
    """Takes a mean over the batch."""


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (nn.BatchNorm1d(2), "part: BatchNorm1d normalises by the rows of one process"),
        (nn.SyncBatchNorm(2), "part: SyncBatchNorm normalises by the rows of one process"),
        (Coupled(), "part: Coupled needs all rows of a batch at once"),
    ],
)
def test_parts_that_need_the_whole_batch_are_refused_by_name_among_several(part, words):
    model = nn.ModuleDict({"part": part})
    require_shareable(model, {})
    with working_as(TWINS), pytest.raises(RecipeError, match=words):
        require_shareable(model, {})


def test_parts_that_sum_over_processes_are_welcome():
    model = nn.ModuleList([StepBatchNorm(2, 3), SharedBatchNorm(2), nn.Linear(2, 2), Coupled()])
    with working_as(TWINS), pytest.raises(RecipeError) as caught:
        require_shareable(model, {"train.batch_size": 2})
    assert [problem.partition(":")[0] for problem in caught.value.problems] == ["3"]


def test_fewer_rows_than_processes_are_refused():
    with working_as(TWINS), pytest.raises(RecipeError, match="1 rows cannot be shared out among 2 processes"):
        require_shareable(nn.Linear(1, 1), {"train.batch_size": 1})


def test_state_that_differs_between_processes_is_refused_by_name():
    tensors = {"objective.memory": torch.zeros(3), "chain.weight": torch.ones(2)}
    with working_as(TWINS):
        require_same(tensors, "before training")
    with working_as(Twins(size=2, other={"objective.memory": "?"})), pytest.raises(RecipeError) as caught:
        require_same(tensors, "after an update")
    assert str(caught.value) == "objective.memory: not the same in all processes after an update; train in one process"


@pytest.mark.parametrize("norm", [StepBatchNorm(3, 2), SharedBatchNorm(3)])
@pytest.mark.parametrize("shape", [(8, 3), (8, 3, 2, 2)])
def test_statistics_summed_over_processes_are_those_of_the_whole_batch(norm, shape):
    """The other process has the same rows, so that both have the statistics of a batch with every row twice."""
    norm, values = norm.double(), normal(torch.empty(shape, dtype=torch.float64), seeded("cpu", 1)) + 2
    found = []
    for group, batch in ((ALONE, torch.cat([values, values])), (TWINS, values)):
        norm.reset_running_stats()
        with working_as(group):
            normalised = norm(batch, 2)[: len(values)]
        found.append([normalised, norm.running_mean.clone(), norm.running_var.clone(), norm.num_batches_tracked.clone()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-12, atol=1e-12)


def test_within_what_one_process_does_it_is_alone():
    assert current() == lead(current) == ALONE
    assert each([current, current]) == [ALONE, ALONE]
    assert in_turn(current) == ALONE


def test_signals_are_put_off_where_processes_must_agree():
    with handling_signals(insisting=False):
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
        with working_as(TWINS):
            poll()
        with pytest.raises(Interrupted):
            poll()


def test_others_that_cannot_be_reached_at_the_start_are_lost_and_no_bug(monkeypatch):
    def refused(url, rank, size):
        assert (url, rank, size) == ("env://", 1, 2)
        raise torch.distributed.DistNetworkError("The client socket has failed to connect")

    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.distributed, "rendezvous", refused)
    with pytest.raises(ProcessLostError, match=r"cannot be reached .*failed to connect"), joined():
        pass
    assert current() == ALONE


@pytest.mark.parametrize("missing", ["RANK", "MASTER_ADDR", "MASTER_PORT"])
def test_processes_that_no_launcher_has_started_are_refused(monkeypatch, missing):
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv(missing)
    with pytest.raises(RecipeError, match=f"^WORLD_SIZE: is 2 without {missing}; start several processes by torchrun"), joined():
        pass
