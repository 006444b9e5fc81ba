"""The tables of records are those that their script writes."""

import importlib.util
import json
from pathlib import Path

RECORDS = Path(__file__).parents[2] / "docs" / "records"


def load():
    spec = importlib.util.spec_from_file_location("record", RECORDS / "record.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_of_records_are_not_stale():
    assert (RECORDS / "README.md").read_text(encoding="utf-8") == load().table(), "run python docs/records/record.py"
    assert (RECORDS / "papers.md").read_text(encoding="utf-8") == load().papers(), "run python docs/records/record.py"


def test_every_record_says_what_its_figures_depend_on():
    kept = [json.loads(path.read_text(encoding="utf-8")) for path in RECORDS.glob("*.json")]
    assert kept
    for record in kept:
        assert {"recipe", "environment", "minutes", "curve", "figures"} <= set(record)
        assert record["recipe"]["seed"] >= 0
        assert record["environment"]["torch"]
        assert all(figure["preparation"] and figure["unit"] for figure in record["figures"])
