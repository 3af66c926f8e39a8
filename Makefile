# Everything happens in .venv, made on first use with python3 (make PYTHON=python3.12 takes another).
# Installing again happens only when pyproject.toml has changed. It compiles, too: where Python may
# not write what it compiles (PYTHONDONTWRITEBYTECODE), each start would do that again.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BASE_DIR ?= cluster-data
SEEDS ?= 50
N ?= 1
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help install dev run node cluster check lint types test test-slow sim bench protos config clean

help: ## show this list
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

run: $(VENV)/installed ## one node with all roles and no configuration, data in ./restate-data
	@exec $(BIN)/restate-node $(ARGS)

cluster: $(VENV)/installed ## three nodes on this machine, data in ./cluster-data; Ctrl-C stops them
	@exec $(BIN)/python -m restate_node.node.local_cluster --base-dir $(BASE_DIR) $(ARGS)

node: $(VENV)/installed ## one of these three again, after it was killed: make node N=2
	@exec $(BIN)/restate-node --config config/three-nodes/node-$(N).toml --base-dir $(BASE_DIR) $(ARGS)

test: lint types ## everything that must hold: lint, types, layers, tests
	$(BIN)/pytest $(ARGS)

check: lint ## the fast part: lint, and the tests that start no process
	$(BIN)/pytest -m 'not slow and not process' tests/tidy tests/types tests/wire tests/protocol

test-slow: $(VENV)/installed-dev ## tests that take more than a few seconds
	$(BIN)/pytest -m slow $(ARGS)

sim: $(VENV)/installed-dev ## simulated clusters with faults, two at a time: make sim SEEDS=200
	$(BIN)/python -m restate_node.sim --seeds 1-$(SEEDS) $(ARGS)

bench: $(VENV)/installed-dev ## append throughput of a cluster of three processes
	$(BIN)/python -m benchmarks.append $(ARGS)

lint: $(VENV)/installed-dev ## style, format, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/installed-dev ## pyright, strict
	$(BIN)/pyright

protos: $(VENV)/installed-dev ## generate restate_node/wire/pb again
	$(BIN)/python protos/generate.py

config: $(VENV)/installed ## write the example files below config/ again
	$(BIN)/python -m restate_node.node.config_files

install: $(VENV)/installed ## what a node needs, into .venv

dev: $(VENV)/installed-dev ## what tests need, into .venv

clean: ## forget .venv; data directories stay
	rm -rf $(VENV) build restate_node.egg-info

$(VENV)/created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "restate_node needs Python 3.11 or newer: name one, as in make run PYTHON=python3.12" >&2; \
	    exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/installed: pyproject.toml | $(VENV)/created
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@$(BIN)/python -m compileall -q restate_node
	@touch $@

$(VENV)/installed-dev: pyproject.toml | $(VENV)/created
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@$(BIN)/python -m compileall -q restate_node
	@touch $@ $(VENV)/installed
