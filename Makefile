# One environment, .venv, serves every target. It is set up once, and again when pyproject.toml or constraints.txt changes.
#
#   make demo      compare the cells' gradients; results go to OUT (default: compare)
#   make test      the tests except the slow ones; PYTEST_ARGS adds arguments for pytest
#   make lab       JupyterLab on notebooks/
#   make lint      ruff and mypy          make format    rewrite the sources as ruff wants them
#   make clean     remove the environment and all caches

PYTHON ?= python3
OUT ?= compare
PYTEST_ARGS ?=

BIN := .venv/bin
STAMP := .venv/.stamp

.DEFAULT_GOAL := demo
.PHONY: demo test lab format lint clean

demo: $(STAMP)
	$(BIN)/dynlab compare --out $(OUT)

test: $(STAMP)
	$(BIN)/python -m pytest -m "not slow" $(PYTEST_ARGS)

lab: $(STAMP)
	$(BIN)/dynlab lab

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The constraints are not optional: they also keep pip from choosing another build of torch than the tested one.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "dynlab: expected Python 3.11 or newer, got $$($(PYTHON) --version 2>&1) from '$(PYTHON)'; name another with 'make PYTHON=python3.12 ...'" >&2; \
	  exit 1; }
	@echo "dynlab: setting up .venv with PyTorch, JupyterLab and the test tools (once, a few minutes)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	@touch $@
