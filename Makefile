# Everything a newcomer needs: `make demo` and `make test` set themselves up.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
WORKERS ?= 2

.PHONY: setup demo test lint notebooks docs clean

setup: $(STAMP)

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "auditkit needs Python 3.11 or newer: make PYTHON=python3.12 setup")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[lab,test,lint]'
	@$(BIN)/python -m compileall -q auditkit  # where PYTHONDONTWRITEBYTECODE is set, each start would compile it again
	@touch $(STAMP)

demo: setup
	$(BIN)/auditkit demo

test: setup
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup $(ARGS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell auditkit tests docs notebooks benchmarks *.md

notebooks: setup
	$(BIN)/jupytext --sync notebooks/*.py

docs: setup
	$(BIN)/python -m auditkit.catalog.kinds > docs/kinds.md
	$(BIN)/python -m auditkit.causes.registry > docs/causes.md
	$(BIN)/python docs/cli.py > docs/cli.md
	$(BIN)/python docs/sql.py > docs/sql.md

clean:
	rm -rf $(VENV) .cache .pytest_cache .mypy_cache .ruff_cache dist build
