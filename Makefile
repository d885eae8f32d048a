# The commands that the README and continuous integration call; `make help` lists them.
#
# Each sets up what it needs: a virtual environment in .venv, torch, lamina, its extras. Stamp files in .venv that
# depend on pyproject.toml let a second run start at once, without a network.

PYTHON  ?=
TORCH   ?= torch==2.13.0
WORKERS ?= 2
ARGS    ?=
PEERS   ?=

# `make bench` runs these of benchmarks/, and gives ARGS to each: `--quick` is for all. kernels.py measures the machine too.
BENCHMARKS ?= build_chain loop_overhead kernels networks
RESULTS    := benchmarks/results

VENV    := .venv
BIN     := $(VENV)/bin
PIP     := $(BIN)/python -m pip --disable-pip-version-check

CANDIDATES = $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11 python3.10 python)
NEW_ENOUGH = import sys; sys.exit(sys.version_info < (3, 10))

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: demo test check bench performance clean help

demo: $(VENV)/.demo ## train a residual network on the digits (ARGS="--epochs 3" passes options)
	$(BIN)/lamina train $(ARGS)

# One thread a worker: on two cores, two workers of one thread each finish first.
test: $(VENV)/.dev ## run the tests and the examples of the docstrings
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

check: $(VENV)/.dev ## ruff, pyright (strict on the engine and the kernels), import floors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --project pyproject.toml
	$(BIN)/lint-imports --no-logo

bench: $(VENV)/.dev ## measure kernels, networks and loops beside torch (BENCHMARKS=kernels ARGS="--only linear")
	@for program in $(BENCHMARKS); do \
	  echo "== benchmarks/$$program.py"; $(BIN)/python "benchmarks/$$program.py" $(ARGS) || exit 1; \
	done

performance: $(VENV)/.dev ## measure kernels and networks and write docs/performance.md (PEERS=python-with-keras)
	$(BIN)/python benchmarks/kernels.py --json $(RESULTS)/kernels.json $(ARGS)
	$(BIN)/python benchmarks/networks.py --precision float32 bfloat16 --json $(RESULTS)/networks.json \
	  $(if $(PEERS),--peers $(PEERS)) $(ARGS)
	$(BIN)/python benchmarks/report.py --networks $(RESULTS)/networks.json --kernels $(RESULTS)/kernels.json

clean: ## remove caches and build products; .venv and runs/ stay
	rm -rf build dist .hypothesis .import_linter_cache .pytest_cache .ruff_cache
	find . -name $(VENV) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo '  PYTHON=python3.12    the Python that makes .venv (3.10 or newer; found by itself otherwise)'
	@echo '  TORCH="torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu"    another build of torch'

# torch comes first and alone: what follows then finds it installed, and pulls in no other build of it.
$(VENV)/.torch:
	@if ! $(BIN)/python -c 'import pip; $(NEW_ENOUGH)' 2>/dev/null; then \
	  for python in $(CANDIDATES) none; do \
	    "$$python" -c '$(NEW_ENOUGH)' 2>/dev/null && break; \
	  done; \
	  if [ "$$python" = none ]; then \
	    echo 'lamina needs Python 3.10 or newer; none of these is: $(CANDIDATES)' >&2; \
	    echo 'Install one, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3' >&2; \
	    exit 1; \
	  fi; \
	  echo "Setting up $(VENV) with $$python"; \
	  "$$python" -m venv --clear $(VENV) || { \
	    echo "This Python cannot make virtual environments: $$python" >&2; \
	    echo 'On Debian or Ubuntu: sudo apt install python3-venv; then the same command again' >&2; \
	    exit 1; \
	  }; \
	fi
	$(PIP) install $(TORCH)
	@touch $@

$(VENV)/.demo: pyproject.toml $(VENV)/.torch
	$(PIP) install --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.torch
	$(PIP) install --editable '.[dev]'
	@touch $(VENV)/.demo $@
