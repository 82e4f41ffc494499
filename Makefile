# Everything a person or a machine does with this tree. `make` alone says what.
# The environment in .venv is made on first use and remade when a lock changes.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

BIN := .venv/bin
ENVIRONMENT := .venv/.installed
SOURCES := nunet_node tests tools
UV_VERSION := 0.13.9

.PHONY: help demo test test-kubo test-ray test-slurm check lint format bench coverage mutants lock clean

help: ## Say what can be made.
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 20

$(ENVIRONMENT): requirements.lock requirements-build.lock pyproject.toml tools/environment
	@tools/environment

demo: $(ENVIRONMENT) ## Run real peers on this machine and do a real job on them.
	@$(BIN)/nunet-node demo

test: $(ENVIRONMENT) ## Run every test.
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

test-ray: $(ENVIRONMENT) ## Run jobs on a real Ray, installed in .make if it can be.
	@tools/cluster ray

test-kubo: $(ENVIRONMENT) ## Let a real Kubo fetch a public result, if it installs.
	@$(BIN)/python -m tests.bench.stores
	@$(BIN)/python -m pytest tests/interop/test_kubo.py $(PYTEST_ARGS)

test-slurm: $(ENVIRONMENT) ## Run jobs on a real Slurm, installed if it can be.
	@tools/cluster slurm

lint: $(ENVIRONMENT) ## Check form, types, spelling and who imports whom.
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/codespell nunet_node tools docs configs

check: ## Lint, then test.
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory test

format: $(ENVIRONMENT) ## Rewrite the sources in the one form.
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

bench: $(ENVIRONMENT) ## Measure; prints figures and judges nothing.
	@$(BIN)/python -m tests.bench $(BENCH_ARGS)
	@$(BIN)/python -m tests.bench.simulation
	@$(BIN)/python -m tests.bench.trust
	@$(BIN)/python -m tests.bench.transfer --rounds 3
	@$(BIN)/python -m tests.bench.blocks
	@$(BIN)/python -m tests.bench.rivals

coverage: $(ENVIRONMENT) ## Run every test and say which branches none took.
	@$(BIN)/coverage run -m pytest $(PYTEST_ARGS)
	@$(BIN)/coverage report --skip-covered --show-missing

mutants: $(ENVIRONMENT) ## Break each promise, and take out each remedy; see it noticed.
	@$(BIN)/python -m tests.mutation.promises
	@$(BIN)/python -m tests.mutation.remedies $(TRAPS)

lock: $(ENVIRONMENT) ## Resolve the dependencies anew and write the lock files.
	@UV_VERSION=$(UV_VERSION) tools/lock

clean: ## Remove everything that was made, the environment too.
	rm -rf .venv .make .mypy_cache .ruff_cache .pytest_cache .hypothesis \
	  .import_linter_cache .coverage build dist
	find nunet_node tests tools -name __pycache__ -type d -prune -exec rm -rf {} +
