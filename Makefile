# The chores of this project. `make demo` and `make test` set everything up themselves.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# a file of tests to a worker at a time; what is left over at the end is short
PYTEST := $(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: help install demo test long faults smoke check lint types fuzz wheel clean

help:            ## list the chores
	@grep -E '^[a-z]+: .*##|^[a-z]+:  *##' $(MAKEFILE_LIST) | sed 's/:.*##/ -/'

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[jax,dev]"
	touch $(STAMP)

install: $(STAMP)  ## virtual environment with both backends and the test tools

demo: install    ## train AFQMC on the sample that ships, score it, pack a sample submission
	$(BIN)/clue train --task afqmc --data sample --model tiny --config demo --output runs/demo --fresh

test: install    ## unit, contract and real-data tests, once per backend
	KERAS_BACKEND=tensorflow $(PYTEST) -m "not faults and not long"
	KERAS_BACKEND=jax $(PYTEST) -m "backend and not faults and not long"

long: install    ## more cases of what the tests show: every network, rule and form of recomputation
	KERAS_BACKEND=tensorflow $(PYTEST) -m "long and not faults"
	KERAS_BACKEND=jax $(PYTEST) -m "backend and long and not faults"

faults: install  ## kills, signals, full disks, damaged files and memory that ends, once per backend
	KERAS_BACKEND=tensorflow $(PYTEST) -m faults
	KERAS_BACKEND=jax $(PYTEST) -m "backend and faults"

smoke: install   ## the smoke suite: every kind of task from data to a table, on the records that ship
	$(BIN)/clue bench run smoke --workers 2 --output build/smoke --junit build/smoke.xml --markdown build/smoke.md

lint: install    ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install   ## mypy --strict
	$(BIN)/mypy

fuzz: install    ## damaged files of every kind for a minute: each ends in a result or one plain error
	$(BIN)/python scripts/fuzz_readers.py --seconds 60

wheel: install   ## build the wheel and run `clue tasks` from it in a new environment
	rm -rf dist build/wheel-check
	$(BIN)/python -m build --wheel --outdir dist .
	$(PYTHON) -m venv build/wheel-check
	build/wheel-check/bin/python -m pip install --quiet click pydantic pyyaml
	build/wheel-check/bin/python -m pip install --quiet --no-deps dist/*.whl
	cd build && wheel-check/bin/clue tasks

check: lint types test long faults fuzz wheel  ## everything that must pass before a change lands

clean:           ## remove what the chores made (not your runs)
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache
