"""Every benchmark runs, in small, and gives positive figures that are finite; the table and its record say them."""

import importlib
import math

import pytest
import report
from measure import Row, Times, alternate, slope

MACHINE = {"load": 0.1, "threads": 2, "torch": "2", "processor": "one"}
FAMILIES = ("data_path", "importance", "infusion", "memory", "sampling", "scaling", "small_chain", "start", "walkback")


@pytest.mark.parametrize("name", FAMILIES)
def test_a_benchmark_runs_in_small(name):
    family = importlib.import_module(name)
    rows = list(family.rows(1, family.TINY))
    assert rows
    for row in rows:
        assert math.isfinite(row.measured)
        assert all(value > 0 for value in row.details.values())
        assert row.details or row.measured > 0


def test_a_record_keeps_every_run_and_the_page_shows_the_newest_three(tmp_path):
    for value in (1.0, 2.0, 3.0, 4.0):
        row = Row(name="a step", measured=value, unit="x", at_least=1.5, aim=3.5, details={"user, ms": 2.0})
        report.keep("infusion", [row], MACHINE, f"2020-01-0{value:g}", 7, tmp_path)
    kept = report.records(tmp_path)
    assert [run["rows"][0]["measured"] for run in kept["infusion"]] == [1, 2, 3, 4]
    page = report.page(kept)
    assert "| a step | 1.5 x | 3.5 x | 2, 3, 4 x | at least |" in page
    assert "2020-01-01" not in page


def test_every_processor_has_a_table_of_its_own_newest_runs(tmp_path):
    for day, processor in enumerate(("one", "two", "one"), 1):
        row = Row(name="a step", measured=float(day), unit="x")
        report.keep("infusion", [row], {**MACHINE, "processor": processor}, f"2020-01-0{day}", 7, tmp_path)
    page = report.page(report.records(tmp_path))
    first, second = page.split("## two")
    assert "| a step |  |  | 1, 3 x |  |" in first.split("## one")[1]
    assert "| a step |  |  | 2 x |  |" in second.split("## ")[0]
    assert page.count("| [infusion]") == 3


@pytest.mark.parametrize(
    ("measured", "unit", "verdict"),
    [(3, "x", "aim"), (2.5, "x", "at least"), (1, "x", "short"), (1, "ms", "aim"), (2.5, "ms", "at least"), (4, "x time", "short")],
)
def test_costs_are_to_be_small_and_gains_large(measured, unit, verdict):
    at_least, aim = (2, 3) if unit == "x" else (3, 2)
    assert Row(name="row", measured=measured, unit=unit, at_least=at_least, aim=aim).verdict == verdict


def test_contenders_take_turns():
    turns = []
    times = alternate({"a": lambda: turns.append("a"), "b": lambda: turns.append("b")}, rounds=2, calls=2, warm=1)
    assert turns == ["a", "b", *"aabbaabb"]
    assert {name: len(found) for name, found in times.seconds.items()} == {"a": 2, "b": 2}


def test_a_ratio_is_the_median_of_the_rounds():
    times = Times({"slow": [2.0, 9.0, 4.0], "fast": [1.0, 3.0, 4.0]})
    assert times.ratio("slow", "fast") == 2
    assert times.difference("slow", "fast") == 1


def test_the_scaling_of_a_record_is_drawn(tmp_path):
    time = {"name": "time against batch, exponent", "details": {"batch = 2, ms": 1.0, "batch = 4, ms": 2.0}}
    memory = {"name": "memory against batch, 2 to 4", "details": {"batch = 2, MB": 3.0, "batch = 4, MB": 5.0}}
    report.draw([{"rows": [time, memory]}], tmp_path / "scaling.png")
    assert (tmp_path / "scaling.png").read_bytes()[:4] == b"\x89PNG"
    assert slope([2, 4, 8], [3, 12, 48]) == pytest.approx(2)


def test_the_page_is_that_of_the_records():
    shown = report.PAGE.read_text(encoding="utf-8") if report.PAGE.exists() else None
    kept = report.records()
    assert shown == (report.page(kept) if kept else None), "run python tests/benchmarks/run.py --page"


def test_shares_have_a_table_of_their_own_and_add_up(tmp_path):
    family = importlib.import_module("shares")
    rows = list(family.rows(1, family.TINY))
    assert sum(row.measured for row in rows) == pytest.approx(100)
    assert {row.name for row in rows if row.details["user, ms"] > 0} >= {"matrix products", "optimiser", "random numbers", "normalisation"}
    report.keep("shares", rows, MACHINE, "2020-01-01", 7, tmp_path)
    assert "| matrix products | " in report.page(report.records(tmp_path)).split("## Where the time goes")[1]


def test_scaling_has_a_part_of_the_page_of_its_own(tmp_path):
    row = Row(name="time against batch, exponent", measured=0.9, unit="exponent", details={"batch = 2, ms": 1.0})
    report.keep("scaling", [row], MACHINE, "2020-01-01", 7, tmp_path)
    above, below = report.page(report.records(tmp_path)).split("## Scaling")
    assert row.name not in above
    assert f"| {row.name} |  |  | 0.9 exponent |  |" in below
