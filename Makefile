# Every target makes the virtual environment it needs; nothing is reinstalled while its stamp is new.
# A fresh machine needs Python 3.11 or later with venv and pip, and make.

PYTHON ?= python3
VENV ?= .venv
OUT ?= demo
ARGS ?=
NAME ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
PINS := pyproject.toml constraints.txt

.PHONY: help demo reproduce test check format bench docs clean

help:
	@echo "make demo    train a generator on real digits, measure its geometry, write $(OUT)/index.html"
	@echo "make reproduce NAME=oddity-kmeans    a published experiment again; without NAME, their list"
	@echo "make test    the tests and the examples of the docstrings, on two processes"
	@echo "make check   lint, format, types, and dependencies declared as imported"
	@echo "make format  rewrite the sources as make check wants them"
	@echo "make bench   the benchmarks, each a ratio measured in one run"
	@echo "make docs    the documentation, in docs/_build/html"
	@echo "make clean   remove everything that make has made"
	@echo "Variables: PYTHON=$(PYTHON)  VENV=$(VENV)  OUT=$(OUT)  ARGS= (passed on to the command)"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; sys.exit("landform needs Python 3.11 or later, $(PYTHON) is " + v + "; try make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: $(BIN)/python $(PINS)
	@echo "Installing landform into $(VENV); the first time takes a minute or two"
	@$(PIP) --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	@echo "Installing the tools of development into $(VENV)"
	@$(PIP) --editable ".[dev]"
	@touch $@

$(VENV)/.docs: $(VENV)/.runtime
	@echo "Installing the tools of documentation into $(VENV)"
	@$(PIP) --editable ".[docs]"
	@touch $@

demo: $(VENV)/.runtime
	$(BIN)/landform demo --out $(OUT) $(ARGS)

reproduce: $(VENV)/.runtime
	$(BIN)/python -m experiments $(or $(NAME),--help) $(ARGS)

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist worksteal --durations 10 -m "not slow" $(ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/deptry src

format: $(VENV)/.dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(VENV)/.dev
	@set -e; for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script $(ARGS); done

docs: $(VENV)/.docs
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html $(ARGS)

clean:
	rm -rf $(VENV) demo build dist docs/_build docs/api/generated .cache .pytest_cache .ruff_cache .hypothesis
	find src tests benchmarks examples experiments docs -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
