"""A journal gives back what was worked out, in order, and what was damaged is worked out again."""

import pytest
import torch

from chainkit import journal
from chainkit.journal import FileJournal, Journal


class Work:
    """Pieces 0, 1, 2, ...; counts those that were worked out."""

    def __init__(self):
        self.done = []

    def through(self, kept, pieces):
        return [kept.keep(lambda number=number: self.piece(number)) for number in range(pieces)]

    def piece(self, number):
        self.done.append(number)
        return torch.tensor([[number, 0.1]], dtype=torch.float64)


def expected(pieces):
    return [torch.tensor([[number, 0.1]], dtype=torch.float64) for number in range(pieces)]


def same(found, pieces):
    return len(found) == pieces and all(map(torch.equal, found, expected(pieces)))


@pytest.mark.parametrize("seconds", [0.0, 1e9])
@pytest.mark.parametrize("first", [0, 1, 12])
def test_a_second_time_only_what_is_missing_is_worked_out(tmp_path, monkeypatch, first, seconds):
    monkeypatch.setattr(journal, "SECONDS", seconds)
    before, work = FileJournal(tmp_path / "kept"), Work()
    work.through(before, first)
    before.write()
    assert same(work.through(FileJournal(tmp_path / "kept"), 15), 15)
    assert work.done == list(range(15))


def test_a_third_time_builds_on_both(tmp_path):
    work = Work()
    for pieces in (3, 5, 9):
        kept = FileJournal(tmp_path / "kept")
        assert same(work.through(kept, pieces), pieces)
        kept.write()
    assert work.done == list(range(9))


def test_what_is_quick_leaves_no_files(tmp_path):
    Work().through(FileJournal(tmp_path / "kept"), 5)
    assert not (tmp_path / "kept").exists()


def test_what_takes_long_is_written_on_the_way(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "SECONDS", 0.0)
    Work().through(FileJournal(tmp_path / "kept"), 5)
    assert same(Work().through(FileJournal(tmp_path / "kept"), 5), 5)
    assert len(list((tmp_path / "kept").iterdir())) == 5


def test_after_a_damaged_piece_all_is_worked_out_again(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "SECONDS", 0.0)
    Work().through(FileJournal(tmp_path / "kept"), 6)
    (tmp_path / "kept" / "000000002" / "pieces.safetensors").write_bytes(b"half")
    work = Work()
    assert same(work.through(FileJournal(tmp_path / "kept"), 6), 6)
    assert work.done == [2, 3, 4, 5]
    assert same(Work().through(FileJournal(tmp_path / "kept"), 6), 6)


def test_the_plain_journal_keeps_nothing():
    work = Work()
    for _ in range(2):
        assert same(work.through(Journal(), 2), 2)
    assert work.done == [0, 1, 0, 1]
