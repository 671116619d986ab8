# The words of this project. `make demo` and `make test` are all that a fresh clone needs.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
DEV    := $(VENV)/.installed-dev

.PHONY: demo test test-fast check bench docs clean

demo: $(STAMP)   ## train a small ZFNet on rendered scenes and look inside it: runs/demo/index.html
	$(BIN)/convscope demo --out runs/demo

test: $(DEV)     ## the whole test suite
	$(BIN)/python -m pytest

test-fast: $(DEV) ## what runs in about a minute
	$(BIN)/python -m pytest -m "not slow"

check: $(DEV)    ## lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) runs build dist src/*.egg-info

$(VENV):
	$(PYTHON) -m venv $(VENV)

$(STAMP): pyproject.toml constraints.txt | $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(DEV): pyproject.toml constraints.txt | $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,zoo,probe,explore]'
	touch $@ $(STAMP)
