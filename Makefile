# `make up` starts the assistant, `make test` runs everything that a change must pass.
#
# Variables:  PYTHON    interpreter that makes .venv (3.11 or newer)
#             PIP_ARGS  more options for pip, for example an index with CPU builds of torch
#             PYTEST    options for pytest, for example  make test PYTEST='-k saver -x'
#             MINUTES   length of  make soak

PYTHON ?= python3
PIP_ARGS ?=
PYTEST ?=
MINUTES ?= 10
VENV := .venv
BIN := $(VENV)/bin
LOCK := pyproject.toml constraints.txt
INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check $(PIP_ARGS) -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help up setup setup-dev test check lint format docs bench soak chaos docker lock clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-10s %s\n", $$1, $$2 }' Makefile

up: setup  ## start the assistant; stop it with Ctrl-C
	@exec $(BIN)/python assistant.py up

setup: $(VENV)/.installed  ## make .venv with what the assistant needs

setup-dev: $(VENV)/.installed-dev  ## the same with the tools that tests and checks need

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "The assistant needs Python 3.11 or newer; '$(PYTHON)' is" \
	    "$$($(PYTHON) --version 2>/dev/null || echo missing)." \
	    "Name a newer one, for example:  make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@echo "Creating $(VENV) …"
	@$(PYTHON) -m venv $(VENV) || { \
	  rm -rf $(VENV); \
	  echo "Python's venv module does not work here; on Debian: apt-get install python3-venv" >&2; \
	  exit 1; }

$(VENV)/.installed: $(BIN)/python $(LOCK)
	@echo "Installing the assistant (the first time takes some minutes) …"
	@$(INSTALL) -e .
	@touch $@

$(VENV)/.installed-dev: $(BIN)/python $(LOCK)
	@echo "Installing the assistant and what tests and checks need (some minutes the first time) …"
	@$(INSTALL) -e '.[dev]'
	@touch $(VENV)/.installed $@

test: lint  ## the checks and all tests; skipped tests are listed with their reasons
	$(BIN)/python -m pytest -n 2 -rs $(PYTEST)

check: lint  ## the checks and the style tests, without the other tests
	$(BIN)/python -m pytest -n 2 -q tests/style

lint: setup-dev  ## formatting, rules, types and import directions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	PYTHONPATH=. $(BIN)/lint-imports --no-cache

format: setup-dev  ## mend what can be mended by machine
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: setup-dev  ## write anew what docs and config/default.yaml say of settings and keys
	PYTHONPATH=. $(BIN)/python docs/settings_reference.py
	PYTHONPATH=. $(BIN)/python docs/keys_reference.py

bench: setup-dev  ## measure speed and memory; results go to bench-results/
	$(BIN)/python -m benchmarks

soak: setup-dev  ## ten minutes of mixed traffic: what grows?  make soak MINUTES=600
	$(BIN)/python -m benchmarks.soak --minutes $(MINUTES)

chaos: setup-dev  ## kill processes at random points, minutes long
	$(BIN)/python -m pytest -m chaos -rs tests/chaos $(PYTEST)

docker: setup-dev  ## build the image and try compose.yaml on the Docker engine of this machine
	$(BIN)/python -m pytest -m docker -rs tests/docker $(PYTEST)

lock: setup-dev  ## pin the newest set that plain pip resolves
	$(PYTHON) -m venv --clear build/lock
	build/lock/bin/python -m pip install --quiet $(PIP_ARGS) -e '.[community,dev,otel,redis-stack]'
	{ echo "# Every package of the project and its extras, pinned; written by 'make lock'."; \
	  build/lock/bin/python -m pip freeze --all --exclude-editable \
	    | sed -e '/^pip==/d' -e 's/+.*//' | tr 'A-Z_' 'a-z-' | LC_ALL=C sort; } > constraints.txt

clean:  ## remove .venv and everything that was built
	rm -rf $(VENV) build dist bench-results .pytest_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
