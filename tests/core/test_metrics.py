"""The stream of metrics: whole lines, whatever the disk does."""

from __future__ import annotations

import json
import resource

import pytest

from chainkit.metrics import MetricsLog


def test_a_line_for_which_there_is_room_in_part_is_not_left_in_part(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.append({"loss": 1.0})
    before, room = log.path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 5, room[1]))
    try:
        with pytest.raises(OSError, match=r"metrics\.jsonl"):
            log.append({"loss": 2.0})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, room)
    assert log.path.read_bytes() == before
    log.append({"loss": 3.0})
    assert [json.loads(line)["loss"] for line in log.path.read_text().splitlines()] == [1.0, 3.0]
