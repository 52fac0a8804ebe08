# Commands for people and for CI. `make` alone lists them.
# PYTHON chooses the interpreter for the virtual environment (3.11 or newer), e.g.
# make run PYTHON=python3.13

SHELL := /bin/bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
.DELETE_ON_ERROR:

PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin
# An index that pip has been told of is good for uv too.
ifdef PIP_INDEX_URL
export UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
endif

.PHONY: help run test compiled lint format bench clean

help: ## list these commands
	@printf 'nbgate: make TARGET\n\n'
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

run: $(VENV)/.ready-run ## start the gateway with the demo course on 127.0.0.1:8000, no Docker needed
	@exec $(BIN)/python -m examples.run

test: $(VENV)/.ready-test ## set up what the tests need, lint, run all tests
	@exec bash tests/support/system/test.sh

compiled: $(VENV)/.ready-test ## run the data path's tests on a compiled build, as `make test` does too
	@bash tests/support/system/compiled.sh

lint: $(VENV)/.ready-test ## check style, types and the direction of imports
	@failed=0; \
	for check in 'ruff check .' 'ruff format --check .' mypy lint-imports; do \
	    printf -- '-- %s\n' "$$check"; \
	    $(BIN)/$$check || failed=1; \
	done; \
	exit $$failed

format: $(VENV)/.ready-test ## reformat the code
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

bench: $(VENV)/.ready-test ## measure the data path and nbgate-proxy against their peers, a class that starts, and the cold start
	@bash tests/support/system/install.sh bench
	@failed=0; \
	$(BIN)/python -m bench.datapath --write-results || failed=1; \
	$(BIN)/python -m bench.routes --write-results || failed=1; \
	$(BIN)/python -m bench.lifecycle --write-results || failed=1; \
	$(BIN)/python -m bench.coldstart || failed=1; \
	exit $$failed

clean: ## remove the virtual environment, caches and test results; keeps .nbgate, the demo's state
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache \
	    .grimp_cache test-results dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- the virtual environment; a stamp makes the second run quick
$(BIN)/uv:
	@for candidate in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11); do \
	    "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null || continue; \
	    echo "setting up $(VENV) with $$("$$candidate" --version)"; \
	    "$$candidate" -m venv $(VENV) || { \
	        echo "make: $$candidate cannot make a virtual environment; on Debian and Ubuntu: apt-get install python3-venv" >&2; \
	        exit 1; \
	    }; \
	    exec $(BIN)/python -m pip install --quiet --disable-pip-version-check uv; \
	done; \
	echo "make: needs Python 3.11 or newer ($(or $(PYTHON),python3) is not); name one with PYTHON=…" >&2; \
	exit 1

$(VENV)/.ready-run: $(BIN)/uv pyproject.toml
	@echo 'installing nbgate and Jupyter into $(VENV)'
	@$(BIN)/uv pip install --python $(BIN)/python --editable '.[jupyter]'
	@touch $@

$(VENV)/.ready-test: $(BIN)/uv pyproject.toml
	@echo 'installing nbgate, Jupyter and the tools for tests into $(VENV)'
	@$(BIN)/uv pip install --python $(BIN)/python --editable '.[jupyter,postgres]' --group lint --group test
	@touch $@ $(VENV)/.ready-run
