# `make demo` needs python3.11 and make; everything it installs goes into .venv.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
# both cores of a small machine; files stay together, for the sake of what their tests share
PYTEST = $(BIN)/python -m pytest -q -n 2 --dist loadfile
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: help demo install test test-slow test-long packaging check lint type layers format calibration bench wheel clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(VENV)/.cli  ## the comparison of all rules on 20 days (installs what it needs, no torch)
	$(BIN)/fleet compare env=suburb

install: $(VENV)/.dev  ## everything, for work on the code

test: $(VENV)/.dev  ## the tests (a few minutes)
	$(PYTEST)

test-slow: $(VENV)/.dev  ## the long tests
	$(PYTEST) -m slow

test-long: $(VENV)/.dev  ## the longest tests: the bound on 20 days of every card (half an hour)
	$(PYTEST) -m long

packaging: $(VENV)/.dev  ## build the wheel, install it apart, run every verb from an empty folder
	$(BIN)/python -m pytest -q -m packaging

check: lint type layers  ## style, types, dependency order

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: $(VENV)/.dev
	$(BIN)/mypy

layers: $(VENV)/.dev
	$(BIN)/lint-imports

format: $(VENV)/.dev  ## rewrite in house style
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

calibration: $(VENV)/.cli  ## simulated weeks against measured ones (raw data in DATA=FOLDER)
	@test -n "$(DATA)" || { echo "make calibration DATA=FOLDER: the folder of raw data"; exit 2; }
	$(BIN)/python -m experiments.calibration --data "$(DATA)" --out runs/calibration
	@echo "figure and errors: runs/calibration"

bench: $(VENV)/.cli  ## steps per second
	$(BIN)/fleet bench

wheel: $(VENV)/.dev  ## sdist and wheel into dist/
	$(BIN)/python -m build

clean:  ## remove what was built (not runs/, not .venv)
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.cli: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e ".[cli]"
	@touch $@

# torch first and by its pin: left to the resolver, another build of it may be drawn in
$(VENV)/.dev: $(VENV)/.cli
	$(INSTALL) torch
	$(INSTALL) -e ".[cli,rl,sweep,dev]"
	@touch $@
