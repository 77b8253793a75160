# `make help` lists what there is to do. Everything is installed into .venv; nothing outside this folder is changed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SOURCES := labeling evals flows dashboards tests
# A file's tests share what they make, so they stay in one process; the longest files come first (tests/conftest.py).
WORKERS ?= auto
SPREAD := --numprocesses $(WORKERS) --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast test-slow check format clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY)  ## Label, score and cluster the features of a real model, offline; says where the report is
	$(BIN)/featlas demo

test: $(READY)  ## Run every test (about 25 minutes on two cores)
	$(BIN)/pytest -m 'slow or not slow' $(SPREAD)

test-fast: $(READY)  ## Run the fast tests (about 4 minutes)
	$(BIN)/pytest $(SPREAD)

test-slow: $(READY)  ## Run the slow tests: killed processes, servers, a browser
	$(BIN)/pytest -m slow $(SPREAD)

check: $(READY)  ## Check format, lint, types and the rules of tests/test_architecture.py
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest tests/test_architecture.py

format: $(READY)  ## Format the code and mend what the linter can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## Remove .venv, caches and build products; workspaces stay, they may hold answers that were paid for
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last, so an installation that was interrupted is done again.
$(READY): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { \
	  echo "featlas needs Python 3.11 or newer, and there is no '$(PYTHON)' here." \
	       "Install one, or name it: make PYTHON=/path/to/python3.11 ..." >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "featlas needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." \
	       "Install a newer one, or name it: make PYTHON=python3.11 ..." >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' || { \
	  echo "'$(PYTHON)' can't make virtual environments." \
	       "On Debian or Ubuntu: apt-get install python3-venv" >&2; exit 2; }
	@echo "Setting up $(VENV): about 3 GB to download the first time, 2 to 3 minutes."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@
