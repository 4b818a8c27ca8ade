# Each target does all of its own set-up: a fresh clone needs Python 3.11 or newer, make and an index of packages.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PROCESSES := -n 2 --dist worksteal --benchmark-disable

.PHONY: demo test test-fast test-long lint bench clean

demo: $(READY)
	$(BIN)/guardrail demo

# What CI runs, in under 15 minutes; ARGS go to pytest, which runs in two processes.
test: $(READY)
	$(BIN)/pytest $(PROCESSES) $(ARGS)

# While you write: under 90 seconds.
test-fast: $(READY)
	$(BIN)/pytest $(PROCESSES) -m "not slow" $(ARGS)

# By hand, before a larger change is done: what the others leave out, and simulations at ten times their size.
test-long: $(READY)
	SIMULATION_SCALE=10 $(BIN)/pytest -m "long or simulation" --timeout 7200 $(ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: $(READY)
	$(BIN)/python -m tests.benchmarks.certificate
	$(BIN)/python -m tests.benchmarks.decisions

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all,dev]'
	touch $(READY)

clean:
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis guardrail-demo
