# The verbs, the same for people and for CI. Each sets up what it needs and nothing more; what is there
# already is recognised in a moment. Arguments go through ARGS: make test-fast ARGS="-k plan -x"

SETUP  := python3 tools/setup.py
PYTHON := .venv/bin/python
ARGS   ?=

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast lint types fmt bench docs setup lock lock-check clean _python

help: ## show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## watch real rollouts succeed and be rolled back, on this machine
	@$(SETUP) --only python envoy haproxy nginx prometheus temporal
	@.venv/bin/sluice demo --scenario all $(ARGS)

test: ## everything: style, contracts, types, and every test against the real parts
	@$(SETUP)
	@$(MAKE) --no-print-directory lint types
	@$(PYTHON) -m pytest $(ARGS)

test-fast: _python ## the tests that need no server and no browser, in under a minute
	@$(PYTHON) -m pytest -m "not server and not browser" $(ARGS)

lint: _python ## style, formatting and import contracts
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/lint-imports --no-logo

types: _python ## mypy, strict
	@.venv/bin/mypy

fmt: _python ## format, and fix what can be fixed
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

bench: ## measure what the README claims
	@$(SETUP) --only python envoy haproxy nginx prometheus temporal $(if $(findstring kubernetes,$(ARGS)),controlplane)
	@$(PYTHON) -m benchmarks $(ARGS)

docs: _python ## regenerate the pages that are made from the code
	@if [ -e tools/docs.py ]; then $(PYTHON) -m tools.docs $(ARGS); else echo "no tools/docs.py yet"; fi

setup: ## put everything into place: .venv and the real parts in .tools
	@$(SETUP) $(ARGS)

lock: ## write requirements.lock from pyproject.toml (ARGS=--upgrade for newer versions)
	@python3 tools/lock.py $(ARGS)

lock-check: ## fail when requirements.lock no longer follows from pyproject.toml
	@python3 tools/lock.py --check

clean: ## remove .venv, .tools and every cache
	@rm -rf .venv .tools .sluice dist build .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

_python:
	@$(SETUP) --only python
