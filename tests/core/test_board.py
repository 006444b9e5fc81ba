"""Whoever waits for another process waits as long as that one beats, and gives it up where it has fallen silent."""

from __future__ import annotations

import time
from contextlib import nullcontext
from threading import Thread

import pytest
import torch.distributed as dist

from chainkit import board
from chainkit.board import Board
from chainkit.errors import ProcessLostError


@pytest.fixture
def store(monkeypatch):
    """A store of two processes that were asked to stop."""
    monkeypatch.setattr(board, "asked", lambda: 15)
    monkeypatch.setattr(board, "PATIENCE", 1.0)
    monkeypatch.setattr(board, "BEAT", 0.05)
    return dist.HashStore()


def after_a_while(store, *, beating):
    """Another process, that says something only after three times the patience."""

    def work():
        late = Board(store)
        with late.beating(1) if beating else nullcontext():
            time.sleep(3 * board.PATIENCE)
            late.exchange("late", 1, 2)

    thread = Thread(target=work)
    thread.start()
    return thread


def test_one_that_beats_is_waited_for_however_long_it_works(store):
    thread = after_a_while(store, beating=True)
    assert Board(store).exchange("early", 0, 2) == ["early", "late"]
    thread.join()


def test_one_that_does_not_beat_any_more_is_given_up(store):
    with Board(store).beating(1):
        time.sleep(5 * board.BEAT)
    thread = after_a_while(store, beating=False)
    with pytest.raises(ProcessLostError, match="does not answer"):
        Board(store).exchange("early", 0, 2)
    thread.join()


def test_a_store_that_has_gone_ends_the_beats_quietly(monkeypatch):
    class Gone:
        def add(self, key, amount):
            raise dist.DistNetworkError("Connection reset by peer")

    monkeypatch.setattr(board, "BEAT", 0.01)
    failed = []
    monkeypatch.setattr("threading.excepthook", failed.append)
    with Board(Gone()).beating(0):
        time.sleep(0.1)
    assert failed == []
