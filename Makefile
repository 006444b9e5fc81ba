# Everything below works in a fresh clone: the virtual environment is made when it is missing.
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.installed
DOCS := $(VENV)/.documented

.PHONY: run test check docs mutation bench reliability clean

run: $(STAMP)
	$(VENV)/bin/chainkit run recipes/infusion_digits.toml

test: $(STAMP)
	$(VENV)/bin/python -m pytest -n auto --dist worksteal

check: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

# Every warning is an error: a link that leads nowhere, a name that the code does not have.
docs: $(DOCS)
	$(VENV)/bin/python -m sphinx --fail-on-warning --keep-going --quiet docs docs/_build/html

# Hours: every small mistake in a formula, one at a time. Stopped and started again, it goes on where it was.
mutation: $(STAMP)
	$(VENV)/bin/python tests/mutation/run.py --record

# Half an hour on a quiet machine of two cores; each call adds to the records and writes docs/benchmarks.md anew.
bench: $(STAMP)
	$(VENV)/bin/python tests/benchmarks/run.py --record

# Hours: kills, full disks, flipped bits, signals, races. Stopped and started again, it goes on where it was.
reliability: $(STAMP)
	$(VENV)/bin/python tests/reliability/run.py --record

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $(STAMP)

$(DOCS): $(STAMP)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	touch $(DOCS)

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache docs/_build docs/api
